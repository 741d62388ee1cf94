"""What the images of a job stand for: all tasks of one version run the same bytes.

The first task of a service that runs tells which; all that start later are told the same. Owns the
rule, and which of it goes on in a new version. Resolves nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from cube.manager.ledger import Ledger
from cube.spec import JobSpec
from cube.task import Images, Job, Task
from cube.values import replace


def image_of(ledger: Ledger, task: Task) -> str:
    """What the image of a task stands for in its version; "" while nobody has said."""
    job = ledger.jobs.get(task.job)
    if job is None or not (job.images or job.earlier):
        return ""
    for spec, images in _versions(job):
        service = spec.service(task.service)
        if service is not None and service.same_container(task.spec):
            return dict(images).get(task.service, "")
    return ""


def learn_image(ledger: Ledger, task: Task, image: str) -> None:
    """A task runs this: so shall all others of its service and version. First come counts."""
    job = ledger.jobs.get(task.job)
    spec = None if job is None else job.spec.service(task.service)
    if job is None or spec is None or not spec.same_container(task.spec):
        return  # an earlier version made it
    known, service = dict(job.images).get(task.service), f"{task.job}/{task.service}"
    if known is None:
        ledger.put_job(replace(job, images=(*job.images, (task.service, image))))
        ledger.task_event("job.image", f"{service} runs {image}", task)
        others = (t.node for t in ledger.of(task.job) if t.service == task.service)
        ledger.touched.update(dict.fromkeys(node for node in others if node is not None))
    elif known != image:
        text = f"{task.id} on {task.node} runs {image}, others of {service} run {known}"
        ledger.task_event("task.image", text, task)


def carried_over(old: Job, new: JobSpec) -> Images:
    """What goes on: for services whose containers do, and for what an earlier version had.

    Whoever changes a service, or ends a job and begins it anew, wants what its tag names by then.
    """
    known: dict[str, str] = {}
    for spec, images in reversed(() if old.stopped else tuple(_versions(old))):
        for name, image in images:
            before, now = spec.service(name), new.service(name)
            if before is not None and now is not None and before.same_container(now):
                known[name] = image
    return tuple(sorted(known.items()))


def _versions(job: Job) -> Iterator[tuple[JobSpec, Images]]:
    """Newest first."""
    yield job.spec, job.images
    for version in job.earlier:
        yield version.spec, version.images
