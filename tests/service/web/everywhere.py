"""Every page that there is: its addresses are made from the routes, with something to look at behind each, and with
texts that would act where a page let them.

A page that is added later is visited by itself where its address asks for nothing new; where it does, `addresses` says
what is missing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi.routing import APIRoute

from service.jobs.kinds import KINDS as JOB_KINDS
from service.web import PAGES
from service.web.visit import PageRoute
from tests.service.web import managed
from tests.service.web.managed import HOSTILE
from tests.service.web.site import Site

PARAMETER = re.compile(r"(\{[^}]*\})")
CHAT = [
    {"role": "system", "content": "You are a gardener."},
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello. What grows?"},
    {"role": "user", "content": f"Name a **river**, with `code`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n{HOSTILE}"},
]
TWO = [f"The Po, which is long.\n\n```\nx = 1\n```\n\n{HOSTILE}", f"Paris, which is long. {HOSTILE}"]
ITEMS: Mapping[str, Sequence[str]] = {
    "comparison": TWO,
    "ranking": [*TWO, "The Nile."],
    "rating": TWO[:1],
    "thumbs": TWO[:1],
    "critique": TWO[:1],
    "demonstration": (),
    "correction": TWO[:1],
}
"""The responses of a task of each kind."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A service with something on each page.

    ``key`` may do everything, and is an annotator's. ``values`` says what stands for each parameter, by the route's
    path up to it; ``several`` has the addresses of routes that show more than one thing.
    """

    site: Site
    key: str
    values: Mapping[str, str]
    several: Mapping[str, Sequence[str]]
    labelled: Mapping[str, str]

    def addresses(self) -> list[str]:
        """An address or more of every route that is looked at."""
        return [address for route in routes("GET") for address in self._of(route.path)]

    def value(self, path: str) -> str:
        """The last part of a route's path, which may be a parameter's."""
        part = PARAMETER.split(path)[-1] or PARAMETER.split(path)[-2]
        if not part.startswith("{"):
            return part
        assert path in self.values, f"say in everywhere.py what {path} may be: a page needs it"
        return self.values[path]

    def _of(self, path: str) -> Sequence[str]:
        if path in self.several:
            return self.several[path]
        parts = PARAMETER.split(path)
        return ["".join(self.value("".join(parts[: place + 1])) for place, part in enumerate(parts) if part)]


def routes(method: str) -> Iterator[APIRoute]:
    """The pages that answer a method."""
    for router in PAGES:
        for route in router.routes:
            if isinstance(route, PageRoute) and method in route.methods:
                yield route


EMPTY = (
    "/label",
    "/label/history",
    "/projects",
    "/search",
    "/jobs",
    "/datasets",
    "/certificates",
    "/models",
    "/people",
)
"""Lists, which say something else while there is nothing in them. What comes with the package is never empty."""


async def filled(site: Site) -> Everywhere:
    """Fill a service, and return where everything is."""
    items = managed.pairs()
    items[4]["prompt"] = f"Question 4: {HOSTILE}"
    items[4]["responses"] = [f"Put {HOSTILE}", f"Water {HOSTILE}"]
    project = await managed.project(site, f"Basil in winter {HOSTILE}", items)
    people = await managed.label_all(site, project, "")
    await managed.judge_all(site, items)
    await managed.judge_all(site, [item | {"prompt": f"Unseen {item['prompt']}"} for item in managed.pairs(3)])
    [first, *_] = (await site.admin.get(f"/v1/projects/{project}/disagreement")).json()["items"]
    decision = {"item": first["item"], "label": "first", "reason": f"The second invents a source. {HOSTILE}"}
    await _made(site, f"/v1/projects/{project}/adjudications", decision)
    certificate, routing = await managed.certificate(site), await managed.routing(site, project)
    await _made(site, "/v1/datasets", {"name": "basil", "aggregation": "each", "filter": {"project": project}})
    await managed.model(site, "basil-reward", await managed.job(site, "managed1"))
    await managed.job(site, "managed2", kind="generate", state="running")
    annotator = await site.annotator(f"Eve {HOSTILE}", f"gardeners {HOSTILE}")
    key = await site.key("admin", annotator=annotator)
    labelled = {kind: await _labelled(site, kind, responses) for kind, responses in ITEMS.items()}
    more = {name: await _labelled(site, kind, ITEMS[kind], **asked) for name, (kind, asked) in VARIANTS.items()}
    done = await site.project("demonstration", [])
    draft = await site.project("comparison", [{"prompt": CHAT, "responses": TWO}], closed=True)
    await _thumbed(site, key, labelled["thumbs"])
    task = await _skipped(site, key, labelled["comparison"])
    link = await _link(site, people[0])
    to_label = [f"/label/{id}" for id in (*labelled.values(), *more.values(), done)]
    projects = [f"/projects/{id}" for id in (project, draft, labelled["comparison"], more["practice"])]
    return Everywhere(
        site,
        key,
        {
            "/sign-in/{token}": link,
            "/label/{project}": labelled["comparison"],
            "/label/{project}/{task}": task,
            "/projects/{id}/items/{item}": first["item"],
            "/projects/{id}/routing/{routing}": routing,
            "/projects/{id}": project,
            "/projects/{id}/pictures/{name}": "agreement",
            "/items/{item}": first["item"],
            "/certificates/{sha256}": certificate,
            "/jobs/{id}": "managed1",
            "/jobs/{id}/files/{name:path}": "metrics.jsonl",
            "/jobs/{id}/curves/{name}": "loss",
            "/datasets/{name}": "basil",
            "/datasets/{name}/{version}": "1",
            "/models/{name:path}": "basil-reward",
            "/constitutions/{ref}": "harmlessness@1.1.0",
        },
        {
            "/label/{project}": to_label,
            "/label/{project}/{task}": [f"/label/{labelled['comparison']}/{task}"],
            "/projects/{id}": projects,
            "/jobs/new": [f"/jobs/new?kind={kind}" for kind in JOB_KINDS],
            "/jobs/{id}": ["/jobs/managed1", "/jobs/managed2"],
            "/search": ["/search?text=basil", "/search?text=nothing-of-the-kind"],
            "/datasets/{name}/{version}/download": ["/datasets/basil/1/download?table=pairs"],
            "/constitutions/{ref}/diff": ["/constitutions/harmlessness@1.0.0/diff?to=harmlessness@1.1.0"],
            "/constitutions/new": ["/constitutions/new", "/constitutions/new?of=hhh@1.0.0"],
        },
        {**labelled, **more},
    )


PRACTICE = {"prompt": "Name a sea.", "responses": ["The Baltic.", "Rome."], "role": "practice", "expected": "first"}
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "principles": ("comparison", {"by_principle": True, "constitution": "harmlessness@1.1.0"}),
    "strengths": ("comparison", {"levels": 3, "settings": {"blur": True}}),
    "long scale": ("rating", {"scale": {"min": 0, "max": 100, "min_means": "useless", "max_means": "perfect"}}),
    "rated by principles": ("rating", {"by_principle": True, "constitution": "hhh@1.0.0"}),
    "practice": ("comparison", {"settings": {"pass_share": 1.0, "blur": True}, "practice": PRACTICE}),
}
"""Tasks that look otherwise: by what, and a project's options."""


async def _labelled(site: Site, kind: str, responses: Sequence[str], **asked: Any) -> str:
    practice = asked.pop("practice", None)
    prompts: Sequence[Any] = (CHAT, "Name a lake.")
    items: list[dict[str, Any]] = [{"prompt": prompt, "responses": list(responses)} for prompt in prompts]
    if practice is not None:
        items.append({**practice, "why": f"Rome is a **city**. {HOSTILE}"})
    return await site.project(
        kind, items, labels_per_item=9, guidelines=f"What a **child** understands. {HOSTILE}", **asked
    )


async def _skipped(site: Site, key: str, project: str) -> str:
    """Skip a project's first task, with a reason and a note; return it."""
    async with httpx2.AsyncClient(base_url=site.url, headers={"Authorization": f"Bearer {key}"}) as person:
        task = (await person.post(f"/v1/projects/{project}/tasks/next")).json()["task"]["id"]
        said = {"reason": "harmful", "note": f"It names somebody. {HOSTILE}"}
        assert (await person.post(f"/v1/tasks/{task}/skip", json=said)).status_code < 300
    return str(task)


async def _thumbed(site: Site, key: str, project: str) -> None:
    """Answer a project's first task."""
    async with httpx2.AsyncClient(base_url=site.url, headers={"Authorization": f"Bearer {key}"}) as person:
        task = (await person.post(f"/v1/projects/{project}/tasks/next")).json()["task"]["id"]
        answered = await person.post(
            f"/v1/tasks/{task}/answer", json={"label": "up", "flag": {"note": f"Who? {HOSTILE}"}}
        )
        assert answered.status_code == 201, answered.text


async def _link(site: Site, annotator: str) -> str:
    key = (await site.key("label", annotator=annotator)).split("_")[1]
    made = await _made(site, f"/v1/keys/{key}/links", {})
    return str(made["path"]).rpartition("/")[2]


async def _made(site: Site, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    answer = await site.admin.post(path, json=asked)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body
