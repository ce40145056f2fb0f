"""A service with something to look at: a project that two groups of people and a judge have labelled."""

import io
import json
from datetime import timedelta
from typing import Any

import httpx2
from sqlalchemy import insert

from critic.certificates import binding
from critic.certificates.certificate import Certificate, CertifiedData, CertifiedFigure, CertifiedJudge, Coverage
from critic.statistics.judges.maps import Temperature
from service.jobs.inputs.artifacts import of_job
from service.store.tables import job_events, jobs, models, now
from tests.service.web.site import Site

PEOPLE = (("Ada", "nurses"), ("Bo", "nurses"), ("Cy", "cooks"))
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"' & </textarea>"
QUESTIONS = 24


def pairs(count: int = QUESTIONS) -> list[dict[str, Any]]:
    """Pairs as a file has them; the second response is the longer one."""
    return [
        {
            "prompt": f"Question {number}: how do I keep basil alive in winter?",
            "responses": [
                f"Put it on a bright sill ({number}).",
                f"Water it little, keep it warm, and hope ({number}).",
            ],
        }
        for number in range(count)
    ]


async def project(site: Site, name: str, items: list[dict[str, Any]], labels: int = 3) -> str:
    """Make a project of comparisons."""
    return await site.project("comparison", items, name=name, labels_per_item=labels, constitution="hhh@1.0.0")


async def label_all(site: Site, id: str, prefix: str) -> list[str]:
    """Let all people label all items by the API. Nurses prefer the short answer, Cy often the long one."""
    ids = []
    for name, group in PEOPLE:
        annotator = await site.annotator(f"{prefix}{name}", group)
        ids.append(annotator)
        headers = {"Authorization": f"Bearer {await site.key('label', annotator=annotator)}"}
        async with httpx2.AsyncClient(base_url=site.url, headers=headers) as person:
            while (task := (await person.post(f"/v1/projects/{id}/tasks/next")).json()["task"]) is not None:
                number = int(task["prompt"][0]["content"].split()[1].rstrip(":"))
                wants_short = number % 6 != 5 if name != "Cy" else number % 2 == 0
                short = next(place for place, text in enumerate(task["responses"]) if text.startswith("Put"))
                place = short if wants_short else 1 - short
                answer = {"label": ("first", "second")[place]}
                assert (await person.post(f"/v1/tasks/{task['id']}/answer", json=answer)).status_code == 201
    return ids


def judged(item: dict[str, Any], number: int) -> dict[str, Any]:
    """A judge's comparison with its votes under two principles, in both orders."""
    probability = (0.93, 0.81, 0.55, 0.35)[number % 4]
    votes = [
        {
            "principle": principle,
            "principle_digest": "0" * 64,
            "judge": "judge-1",
            "mode": "logprob",
            "order": order,
            "log_odds": (probability - 0.5) * factor,
            "mass": 0.97,
        }
        for principle, factor in (("no-invention", 6.0), ("kind", 2.0))
        for order in ("given", "swapped")
    ]
    label = {"choice": "first" if probability > 0.5 else "second", "probability": probability, "votes": votes}
    return {"kind": "comparison", **item, "label": label, "source": "ai", "annotator": "judge-1"}


async def judge_all(site: Site, items: list[dict[str, Any]]) -> None:
    """Store a judge's labels of all items."""
    rows = [judged(item, number) for number, item in enumerate(items)]
    assert (await site.admin.post("/v1/feedback", json=rows)).status_code == 201


async def job(site: Site, id: str, kind: str = "train", state: str = "done", **more: Any) -> str:
    """Store a job as a worker would have left it, with a log, a report and what it logged."""
    row = {
        "id": id,
        "kind": kind,
        "request": {"kind": kind, "name": f"{id}-model", "note": HOSTILE},
        "state": state,
        "attempt": 1,
        "epoch": 1,
        "progress": {"rows": 12, "total": 40, "pairs": 7, "calls": 96, "seconds_left": 75.0},
        "result": {"model": f"{id}-model"} if state == "done" else None,
        "created_at": now() - timedelta(hours=1),
        "started_at": now() - timedelta(minutes=50),
        "ended_at": now() if state in ("done", "failed") else None,
        **more,
    }
    events = [
        {"job": id, "at": now(), "kind": "queued", "body": {"attempt": 1, "sources": ["dataset basil@1"]}},
        {"job": id, "at": now(), "kind": "log", "body": {"text": HOSTILE}},
        {"job": id, "at": now(), "kind": "chunk", "body": {"first": 0, "last": 11, "rows": 12}},
    ]
    async with site.service.database.transaction() as connection:
        await connection.execute(insert(jobs), row)
        await connection.execute(insert(job_events), events)
    artifacts = site.service.jobs.artifacts
    logged = [{"step": step, "loss": 2 / step, "rewards/accuracies": 1 - 0.5 / step} for step in range(1, 9)]
    logged += [{"step": 4, "eval_loss": 0.8}, {"step": 8, "eval_loss": 0.6}]
    text = "".join(json.dumps(row) + "\n" for row in logged)
    artifacts.write(io.BytesIO(text.encode()), of_job(id), "metrics.jsonl")
    report = "<!doctype html><html lang=en><head><title>R</title><style>p{color:rgb(1,2,3)}</style></head><body><p>Seen"
    artifacts.write(io.BytesIO(f"{report}<script>document.title='run'</script>".encode()), of_job(id), "report.html")
    return id


async def model(site: Site, name: str, job: str) -> str:
    """Store a model as a training would have."""
    digest = (await site.service.constitutions.get("hhh@1.0.0")).digest
    lineage = {
        "trainer": "reward",
        "settings": {"learning_rate": 2e-5, "max_steps": 8},
        "data": "ab" * 32,
        "parent": {"name": "embedded", "revision": "cd" * 32},
        "constitutions": [digest],
        "ancestors": [],
        "steps": 8,
        "counts": {"examples": 24, "held_out": 4, "refused": {}},
        "figures": {"loss": 0.25, "eval_accuracy": 0.75},
        "packages": {"torch": "2.13.0"},
    }
    row = {
        "id": job,
        "name": name,
        "trainer": "reward",
        "folder": f"models/{job}",
        "lineage": lineage,
        "job": job,
        "created_at": now(),
    }
    await site.service.database.insert({models: [row]})
    return name


async def certificate(site: Site) -> str:
    """Store a certificate of the judge, made by a program before this one; return its hash."""
    published = await site.service.constitutions.get("hhh@1.0.0")
    figures = {
        name: CertifiedFigure(estimate=value, low=value - 0.08, high=value + 0.07, n=120, clusters=120)
        for name, value in (("accuracy", 0.78), ("human_agreement", 0.81), ("calibration_error", 0.1))
    }
    made = Certificate(
        made="2026-11-01T00:00:00+00:00",
        judge=CertifiedJudge(name="judge-1", revision="0" * 64, settings=(), mode={"name": "logprob"}),
        templates=binding.templates_digest(),
        constitution=published.ref,
        constitution_hash=published.digest,
        principles={principle.id: principle.digest for principle in published.principles},
        data=CertifiedData(sha256="1" * 64, items=120, prompts=120, labels=360, annotators=3),
        code={"version": "0.1", "sha256": "2" * 64},
        figures=figures | {"retest_spread": CertifiedFigure(estimate=0.1, low=None, high=None, n=3, clusters=1)},
        faults=("length",),
        map=Temperature(temperature=1.7),
        covers=Coverage(scripts=("Latin",), characters=(10, 900), turns=1, words=("basil", HOSTILE)),
        not_covered=("Texts that are not written in Latin.", HOSTILE),
    )
    asked = {"certificate": json.loads(made.text())}
    assert (await site.admin.post("/v1/certificates", json=asked)).status_code == 201
    return made.sha256


async def routing(site: Site, project: str, budget: int = 2) -> str:
    """Draw items that the judge compared into a project; return the draw's id."""
    answer = await site.admin.post(f"/v1/projects/{project}/routings", json={"budget": budget})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
