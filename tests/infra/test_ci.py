"""The workflows that a user of this repository gets: what they may do, in which order, and that they exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from synthesis import ROOT

from stripe_cache_cdk.config import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

GITHUB = ROOT / ".github"
WORKFLOWS = {path.name: path.read_text() for path in sorted((GITHUB / "workflows").glob("*.yml"))}
ACTIONS = {str(path.relative_to(GITHUB)): path.read_text() for path in sorted(GITHUB.glob("actions/*/action.yml"))}
CREDENTIALS = "aws-actions/configure-aws-credentials"
PINNED = re.compile(r"uses: (?P<action>[\w-]+/[\w./-]+)@(?P<sha>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")
MOST = {"contents": "read", "id-token": "write"}
# What may stand in a script: values that this repository wrote. Anything an event brings is a script of its author's.
HARMLESS = {"matrix.stage", "matrix.python"}


def jobs_of(workflow: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from workflow["jobs"].items()


def steps_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = job.get("steps", [])
    return steps


def events_of(workflow: dict[Any, Any]) -> set[str]:
    # YAML 1.1 reads the key `on` as a truth value.
    return set(workflow[True])


def is_privileged(job: dict[str, Any]) -> bool:
    return any(step.get("uses", "").startswith(CREDENTIALS) for step in steps_of(job))


def pins(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if "uses:" not in line or re.search(r"uses: \./\.github/(workflows|actions)/[\w./-]+$", line):
            continue
        if not PINNED.search(line):
            yield f"not pinned to a commit with its version beside it: {line.strip()}"


def permissions(workflow: dict[Any, Any]) -> Iterator[str]:
    if workflow.get("permissions") != {}:
        yield "the workflow's own permissions are not empty"
    for name, job in jobs_of(workflow):
        given = job.get("permissions")
        if given is None or given.items() - MOST.items():
            yield f"{name}: permissions {given}"
        calls_deploy = job.get("uses", "").endswith("/deploy-stage.yml")
        if "id-token" in (given or {}) and not (is_privileged(job) or calls_deploy):
            yield f"{name}: an identity that nothing in it uses"


def triggers(workflow: dict[Any, Any], text: str) -> Iterator[str]:
    if forbidden := events_of(workflow) & {"pull_request_target", "workflow_run", "issue_comment"}:
        yield f"runs others' code with this repository's rights: {sorted(forbidden)}"
    if "secrets." in text or "secrets:" in text:
        yield "uses a secret: there is none to have, identities are by OIDC"


def privileges(workflow: dict[Any, Any]) -> Iterator[str]:
    of_pull_requests = "pull_request" in events_of(workflow)
    for name, job in jobs_of(workflow):
        if not is_privileged(job):
            continue
        if not job.get("environment"):
            yield f"{name}: assumes a role without an environment"
        for problem in comparing(job) if of_pull_requests else deploying(job):
            yield f"{name}: {problem}"
        (given,) = [step["with"] for step in steps_of(job) if step.get("uses", "").startswith(CREDENTIALS)]
        if "allowed-account-ids" not in given or set(given) & {"aws-access-key-id", "aws-secret-access-key"}:
            yield f"{name}: long-lived keys, or any account"


def comparing(job: dict[str, Any]) -> Iterator[str]:
    if "head.repo.full_name == github.repository" not in job.get("if", ""):
        yield "would try to assume a role for a fork"
    if not str(job.get("environment")).endswith("-diff"):
        yield "a pull request may only use the environment that compares"


def deploying(job: dict[str, Any]) -> Iterator[str]:
    if job.get("concurrency", {}).get("cancel-in-progress") is not False:
        yield "a deployment that is running could be cancelled"
    if job.get("if") != "github.ref == 'refs/heads/main'":
        yield "deploys more than main"


def hygiene(workflow: dict[Any, Any]) -> Iterator[str]:
    called_only = events_of(workflow) == {"workflow_call"}
    for name, job in jobs_of(workflow):
        if "uses" not in job and not job.get("timeout-minutes"):
            yield f"{name}: no time limit"
        if not (workflow.get("concurrency") or job.get("concurrency") or "uses" in job) or (
            called_only and "group" not in job.get("concurrency", {})
        ):
            yield f"{name}: no concurrency group"
        for step in steps_of(job):
            if (
                "actions/checkout" in step.get("uses", "")
                and step.get("with", {}).get("persist-credentials") is not False
            ):
                yield f"{name}: the checkout leaves a token behind"
            for expression in re.findall(r"\$\{\{\s*(.*?)\s*\}\}", step.get("run", "")):
                if expression not in HARMLESS:
                    yield f"{name}: {expression} inside a script"


def targets(text: str) -> Iterator[str]:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in re.findall(r"(?:run: |^\s+)make ([a-z-]+)", text, re.MULTILINE):
        if command not in known:
            yield f"make {command} is no target"


def problems(text: str) -> list[str]:
    workflow = yaml.safe_load(text)
    return [
        *(*pins(text), *permissions(workflow), *triggers(workflow, text)),
        *(*privileges(workflow), *hygiene(workflow), *targets(text)),
    ]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_what_it_needs_and_nothing_else(name: str) -> None:
    assert problems(WORKFLOWS[name]) == []


SPOILED = [
    ("check.yml", "checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "checkout@v7"),
    ("check.yml", " # v7.0.1", ""),
    ("check.yml", "permissions: {}", "permissions: write-all"),
    ("check.yml", "      contents: read", "      contents: write"),
    ("check.yml", "      contents: read", "      contents: read\n      id-token: write"),
    ("check.yml", "  pull_request:", "  pull_request_target:"),
    ("check.yml", "run: make check", "run: make chekc"),
    ("check.yml", "run: make check", "run: make check X=${{ github.head_ref }}"),
    ("check.yml", "run: make check", "run: make check TOKEN=${{ secrets.KEY }}"),
    ("check.yml", "persist-credentials: false", "persist-credentials: true"),
    ("check.yml", "    timeout-minutes: 45\n", ""),
    ("diff.yml", " && github.event.pull_request.head.repo.full_name == github.repository", ""),
    ("diff.yml", "environment: ${{ matrix.stage }}-diff", "environment: ${{ matrix.stage }}"),
    ("diff.yml", "make diff STAGE=${{ matrix.stage }}", "make difff STAGE=${{ matrix.stage }}"),
    ("diff.yml", "          allowed-account-ids: ${{ vars.AWS_ACCOUNT_ID }}\n", ""),
    ("diff.yml", "concurrency:\n  group: diff-${{ github.ref }}\n  cancel-in-progress: true\n", ""),
    ("deploy-stage.yml", "    environment: ${{ inputs.stage }}\n", ""),
    ("deploy-stage.yml", "cancel-in-progress: false", "cancel-in-progress: true"),
    ("deploy-stage.yml", "    if: github.ref == 'refs/heads/main'\n", ""),
    ("deploy-stage.yml", "          make deploy |", "          make deploy STAGE=${{ inputs.stage }} |"),
    ("deploy.yml", "      id-token: write", "      id-token: write\n      packages: write"),
]


@pytest.mark.parametrize(("name", "good", "bad"), SPOILED)
def test_a_workflow_that_was_spoiled_is_noticed(name: str, good: str, bad: str) -> None:
    assert good in WORKFLOWS[name]
    assert problems(WORKFLOWS[name].replace(good, bad, 1))


def test_there_is_one_of_each_kind_and_each_local_reference_leads_somewhere() -> None:
    assert set(WORKFLOWS) == {"check.yml", "diff.yml", "deploy.yml", "deploy-stage.yml"}
    for text in (*WORKFLOWS.values(), *ACTIONS.values()):
        assert list(pins(text)) == []
        for path in re.findall(r"uses: \./(\S+)", text):
            assert (ROOT / path).is_file() or (ROOT / path / "action.yml").is_file(), path
    for name, text in ACTIONS.items():
        runs = yaml.safe_load(text)["runs"]
        assert runs["using"] == "composite", name
        assert "secrets" not in text
        assert list(targets(text)) == []
        assert not [step for step in runs["steps"] if "${{" in step.get("run", "")]


def test_an_action_is_pinned_to_the_same_commit_wherever_it_is_used() -> None:
    used: dict[str, set[str]] = {}
    for text in (*WORKFLOWS.values(), *ACTIONS.values()):
        for found in re.finditer(r"uses: ([\w-]+/[\w./-]+)@(\S+ # v\S+)", text):
            used.setdefault(found[1], set()).add(found[2])
    assert set(used) == {"actions/checkout", "actions/setup-python", "actions/cache", CREDENTIALS}
    assert [versions for versions in used.values() if len(versions) != 1] == []


def test_a_commit_is_checked_and_then_goes_from_stage_to_stage() -> None:
    workflow = yaml.safe_load(WORKFLOWS["deploy.yml"])
    assert workflow[True]["push"] == {"branches": ["main"]}
    jobs = workflow["jobs"]
    assert jobs.pop("check")["uses"] == "./.github/workflows/check.yml"
    assert list(jobs) == list(STAGES)
    before = "check"
    for stage, job in jobs.items():
        assert job["needs"] == before
        assert job["with"] == {"stage": stage}
        assert job["uses"] == "./.github/workflows/deploy-stage.yml"
        before = stage
    # `if: always()` and its like would let a stage begin although the one before it failed.
    assert "always()" not in WORKFLOWS["deploy.yml"]
    assert {job.get("if") for name, job in jobs.items() if name != "dev"} == {None}


def test_a_pull_request_is_synthesized_and_compared_in_every_stage() -> None:
    workflow = yaml.safe_load(WORKFLOWS["diff.yml"])
    assert set(workflow[True]) == {"pull_request"}
    for name in ("synth", "diff"):
        assert workflow["jobs"][name]["strategy"]["matrix"]["stage"] == list(STAGES)
    assert "if" not in workflow["jobs"]["synth"], "forks are synthesized, too"
    assert "GITHUB_STEP_SUMMARY" in WORKFLOWS["diff.yml"]
    (command,) = re.findall(r"cdk diff.*", (ROOT / "Makefile").read_text())
    assert "--method template" in command, "a change set would take the role that deploys"


DOCUMENTS = ("README.md", "docs/deploy.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_the_documents_tell_to_run_and_to_read_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        assert list(targets(block.replace("make", " make"))) == []
        for path in re.findall(r"(?<=python )((?:tools|examples)/\S+?\.py)", block):
            assert (ROOT / path).is_file(), path
        reaches_out = re.search(r"\b(aws |curl |cdk (?:deploy|bootstrap)|make (?:deploy|diff|destroy) )", block)
        if name == "docs/deploy.md" and reaches_out:
            assert block.startswith("# account\n"), block
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / name).parent.joinpath(target).exists(), target
