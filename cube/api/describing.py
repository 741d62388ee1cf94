"""The description of the API at /openapi.json: what FastAPI finds out, with errors as they are."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

PROBLEM_TYPE = "application/problem+json"
PROBLEM = "#/components/schemas/ProblemView"


def install(app: FastAPI) -> None:
    """Have `app` describe errors as problems; FastAPI takes them for what the route answers."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in describe()["paths"].values():
                for operation in path.values():
                    _correct(operation["responses"])
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status[0] in "45":
            response["content"] = {PROBLEM_TYPE: {"schema": {"$ref": PROBLEM}}}
