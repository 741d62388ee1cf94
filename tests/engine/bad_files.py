"""Job files and options that are wrong, with what is said of them."""

WEB = "services:\n  web:\n    image: busybox\n"

# name: (what is in the file, where it is wrong, what is wrong, what to do)
FILES = {
    "a typo": (
        "services:\n  web:\n    imge: busybox\n",
        ":3:5",
        "unknown key `imge`",
        "Did you mean `image`?",
    ),
    "a wrong type": (
        WEB + "    deploy: {replicas: many}\n",
        ":4:24",
        "must be a whole number, not 'many'",
        "",
    ),
    "a duplicate key": (
        WEB + "    image: other\n",
        ":4:5",
        "`image` is written twice",
        "Keep one of them",
    ),
    "a negative size": (
        WEB + "    deploy: {resources: {limits: {memory: -64M}}}\n",
        ":4:43",
        "'-64M' is not a size",
        "A size is not negative",
    ),
    "a size without sense": (
        WEB + "    x-cube: {disk: a lot}\n",
        ":4:20",
        "'a lot' is not a size",
        "Write a number with",
    ),
    "a port twice in one file": (
        WEB + "    ports: ['8080:80']\n  api: {image: busybox, ports: ['8080:81']}\n",
        ":5:",
        "host port 8080/tcp is already published by `web`",
        "Choose another",
    ),
    "a port that is none": (
        WEB + "    ports: ['99999:80']\n",
        ":4:13",
        "'99999' is not a port",
        "Ports go from 1 to 65535",
    ),
    "an unsupported key": (
        WEB + "    build: .\n",
        ":4:5",
        "Compose's `build` is not supported by Cube",
        "Build and push the image",
    ),
    "a variable that is not set": (
        "services:\n  web:\n    image: busybox:${NO_SUCH_TAG:?set it}\n",
        ":3:12",
        "variable NO_SUCH_TAG is not set: set it",
        "Set NO_SUCH_TAG",
    ),
    "a tab": (
        "services:\n\tweb: {image: busybox}\n",
        ":2:1",
        "a tab stands where only spaces may",
        "Indent with spaces",
    ),
    "a dependency that is not there": (
        WEB + "    depends_on: [db]\n",
        ":4:18",
        "`depends_on` names `db`, which is not a service here",
        "Services are web",
    ),
    "services that wait for one another": (
        WEB + "    depends_on: [api]\n  api: {image: busybox, depends_on: [web]}\n",
        ":4:",
        "services wait for one another: web -> api -> web",
        "Break the circle",
    ),
    "an env_file that is missing": (
        WEB + "    env_file: missing.env\n",
        ":4:15",
        "env_file missing.env: there is no such file",
        "Check the path",
    ),
    "two instances on one volume": (
        WEB + "    deploy: {replicas: 2}\n    volumes: ['data:/data']\nvolumes: {data: {}}\n",
        ":5:15",
        "several instances cannot share `data`",
        "x-cube: {shared: true}",
    ),
    "a duration without a unit": (
        WEB + "    healthcheck: {test: [CMD, 'true'], interval: 10}\n",
        ":4:50",
        "10 is not a duration",
        "30s",
    ),
    "a name with a blank": (
        "name: Shop 1\n" + WEB,
        ":1:7",
        "'Shop 1' cannot be a name",
        "Use 1 to 40 of a-z, 0-9 and '-'",
    ),
    "no services": ("services: {}\n", ":1:1", "`services` is empty", "Add at least one"),
    "an empty file": ("", "", "the file is empty", "Write `services:`"),
    "10 MB": (WEB + "#" * 10_000_000, "", "larger than 1 MiB", "Split it into several jobs"),
    "binary junk": (bytes(range(256)), "", "this is not text in UTF-8", "Is this really a job"),
    "aliases that explode": (
        "x-a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"x-{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        )
        + WEB,
        "",
        "more than 100,000 values, counting aliases",
        "Split it into several jobs",
    ),
}

# name: (arguments of `cube run`, what is wrong, what to do)
OPTIONS = {
    "a negative size": (["busybox", "--memory", "-5M"], "'-5M' is not a size", "not negative"),
    "no number": (["busybox", "--replicas", "x"], "must be a whole number", "--replicas"),
    "no way to restart": (["busybox", "--restart", "maybe"], "is not a way to restart", "always"),
    "no variable": (["busybox", "-e", "A B"], "'A ...' is not the name", "NAME=value"),
    "no port": (["busybox", "-p", "x:y"], "is not a port", "-p"),
    "several": (
        ["busybox", "--cpus", "x", "--memory", "y"],
        "2 options are wrong",
        "cube run --help",
    ),
    "neither file nor image": ([], "Give either a job file (-f FILE) or an IMAGE", "--help"),
    "a file and an image": (["busybox", "-f", "x"], "Give either a job file", "--help"),
    "an unknown option": (["busybox", "--replica", "3"], "--replica", "--replicas"),
    "options of an image for a file": (["-f", "x", "--cpus", "1"], "--cpus belongs into", "--help"),
}
