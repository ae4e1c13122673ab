"""The command admit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.questions import confirm
from fedcli.errors import ApprovalError

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.admit import AdmitResult, Applicant

EXAMPLE = "Example: fedcli admit -C coordinator north --fingerprint SHA256:…"

FingerprintOption = Annotated[
    str | None,
    typer.Option(help="The fingerprint that the site told you; without it, the enrolled one is shown for you to confirm."),
]


def admit(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    fingerprint: FingerprintOption = None,
    workspace: WorkspaceOption = Path(),
    tester: Annotated[
        bool, typer.Option("--tester", help="The site has joined as a tester: no round waits for it, and it only evaluates.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make an enrolled site a member, from the next round on."""

    def work(environment: Environment) -> AdmitResult:
        from fedcli.operations import admit as operation
        from fedcli.party.command_lines import party_command

        chosen, as_tester = fingerprint, tester
        if chosen is None:
            applicant = operation.inspect(workspace, site, environment)
            chosen, as_tester = applicant.fingerprint, applicant.tester
            if not applicant.admitted and not confirm(_question(applicant)):
                msg = f"{site}: not admitted; its enrolled key is {chosen}"
                role = ("--tester",) if as_tester else ()
                command = party_command(workspace, "admit", site, "--fingerprint", chosen, *role)
                raise ApprovalError(msg, hint=f"if the site confirms it: `{command}`")
        request = operation.AdmitRequest(root=workspace, site=site, fingerprint=chosen, tester=as_tester)
        return operation.admit(request, environment)

    Invocation(command="admit", as_json=json, root=workspace).run(work)


def _question(applicant: Applicant) -> str:
    site, present = applicant.site, applicant.present
    text = f"{site} has enrolled the key {applicant.fingerprint}{' as a tester' if applicant.tester else ''}"
    if present is None:
        return f"{text}. Is that the fingerprint that the site told you by telephone?"
    if applicant.vouched:
        return (
            f"{text}, and its present key {present} signed for it. Is that the fingerprint that the site told you by telephone?"
        )
    return (
        f"{text}, but its present key {present} has not signed for it: somebody says that {site} lost that key. Call the site "
        "at a number that you know. Is the first fingerprint the one that the site reads to you?"
    )
