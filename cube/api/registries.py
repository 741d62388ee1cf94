"""Routes for credentials of image registries: kept, listed without passwords, taken back."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from cube.api.problems import Problem
from cube.registries import Credential, Registries, registry_named
from cube.views import AnswerView, RegistryView

log = logging.getLogger("cube")

User = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=250)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=16_384)]


class RegistryBody(BaseModel):
    """With which nodes log in to a registry from now on."""

    model_config = ConfigDict(extra="forbid")

    user: User
    password: Password = Field(description="Or an access token. No answer ever holds it.")


def registry_routes(registries: Registries) -> APIRouter:
    """The routes, on these credentials."""
    router = APIRouter()

    @router.get("/v1/registries", response_model=list[RegistryView])
    def listed() -> list[RegistryView]:
        """All registries for which there is a credential, by name."""
        known = registries.all()
        return [{"registry": name, "user": known[name].user} for name in sorted(known)]

    @router.put("/v1/registries/{registry}", response_model=AnswerView)
    def keep(registry: str, body: RegistryBody) -> AnswerView:
        """Have nodes use this credential whenever they pull from there."""
        name = named(registry)
        registries.put(name, Credential(body.user, body.password.get_secret_value()))
        log.info("the credential for the registry %s was set", name)
        return {
            "status": "ok",
            "text": f"nodes log in to {name} as {body.user} from their next pull on",
        }

    @router.delete("/v1/registries/{registry}", response_model=AnswerView)
    def drop(registry: str) -> AnswerView:
        """Have nodes use what their own Docker config has for that registry, if anything."""
        name = named(registry)
        if not registries.drop(name):
            what = f"There is no credential for the registry {name}."
            raise Problem(404, what, "See which there are with: cube registry ls")
        log.info("the credential for the registry %s was removed", name)
        return {"status": "ok", "text": f"the credential for {name} was removed"}

    return router


def named(text: str) -> str:
    """The registry that a request means.

    Raises:
        Problem: it means none.
    """
    try:
        return registry_named(text)
    except ValueError as error:
        raise Problem(422, f"{error}.", "Name a host, or HOST:PORT.") from None
