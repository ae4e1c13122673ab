"""The command docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from fedcli.environment import Environment
    from fedcli.operations.docs import DocsResult

EXAMPLE = "Example: fedcli docs when-something-breaks"

PageArgument = Annotated[str, typer.Argument(help="The page's name, such as commands or security; none shows the list of pages.")]


def docs(page: PageArgument = "", json: JsonOption = False) -> None:
    """Show a page of the documentation."""

    def work(_environment: Environment) -> DocsResult:
        from fedcli.operations.docs import docs as operation

        return operation(page)

    Invocation(command="docs", as_json=json).run(work, _show)


def _show(out: Console, result: DocsResult) -> None:
    from rich.markdown import Markdown

    if out.is_terminal:
        with out.pager(styles=True):
            out.print(Markdown(result.text))
    else:
        out.file.write(result.text)
