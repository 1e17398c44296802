"""Checking content blocks before they are stored: each by itself, and the automations that include them."""

from collections.abc import Iterator, Mapping

from posthorn.engine.directory import Directory
from posthorn.engine.resources import Automation, AutomationVersion, Workspace
from posthorn.errors import Conflict, Invalid, Problem
from posthorn.manage.automation_rules import texts_of
from posthorn.manage.flow_rules import Text
from posthorn.manage.registrar import Registrar
from posthorn.templating import (
    BLOCK_NAMES,
    MAX_BLOCK_BYTES,
    TemplateSyntaxInvalid,
    compile_block,
    compile_template,
    includes_blocks,
    is_block_name,
    uses_secrets,
)

MOST_BLOCKS = 200
MOST_BYTES = 1024 * 1024  # each node keeps all of them in memory
_ANY_SECRET = "*"  # noqa: S105 - the mark of a template whose data chooses the name
_FIELD = "contentBlocks"


class BlockRules:
    """What content blocks must keep to, so that every template that includes them can be rendered."""

    def __init__(self, registrar: Registrar, directory: Directory) -> None:
        self._registrar = registrar
        self._directory = directory

    async def changed(self, workspace: Workspace, given: Mapping[str, str | None] | None) -> dict[str, str]:
        """Return the blocks of a workspace with those given set, or removed by None; None in their place removes all.

        Raises Invalid with every mistake, and Conflict when an automation would no longer work.
        """
        merged = {} if given is None else {**workspace.content_blocks, **given}
        blocks = {name: text for name, text in merged.items() if text is not None}
        _check_sizes(blocks)
        problems = [*_problems_of_templates(blocks)] or [*self._problems_of_secrets(workspace.id, blocks, given or {})]
        if problems:
            raise Invalid(*problems)
        await self._refuse_breaking(workspace, blocks)
        return blocks

    def _problems_of_secrets(
        self, workspace: str, blocks: Mapping[str, str], given: Mapping[str, str | None]
    ) -> Iterator[Problem]:
        for name in blocks.keys() & given.keys():
            for secret in sorted(uses_secrets(compile_block(name, blocks)) - {_ANY_SECRET}):
                if self._directory.secret(workspace, secret) is None:
                    message = f"there is no secret named {secret}; create it first"
                    yield Problem(loc=(_FIELD, name), msg=message, type="unknown_secret")

    async def _refuse_breaking(self, workspace: Workspace, blocks: Mapping[str, str]) -> None:
        """Refuse what takes away from an automation, or from a version that runs are still in, what works now."""
        before = workspace.content_blocks
        if all(blocks.get(name) == text for name, text in before.items()):
            return  # what is only added breaks nothing
        for automation in await self._registrar.everywhere(Automation, workspace.id):
            _refuse_breaking(automation, before, blocks, f"the automation {automation.name!r}", "change it first")
        for version in await self._registrar.everywhere(AutomationVersion, workspace.id):
            kept = version.automation
            what = f"version {kept.version} of the automation {kept.name!r}, which is kept for the runs in it,"
            _refuse_breaking(kept, before, blocks, what, "a block can be left empty instead")


def _check_sizes(blocks: Mapping[str, str]) -> None:
    problems = [Problem(loc=(_FIELD, name), msg=BLOCK_NAMES) for name in blocks if not is_block_name(name)]
    sizes = {name: len(text.encode()) for name, text in blocks.items()}
    problems += [
        Problem(loc=(_FIELD, name), msg=f"{size:,} bytes; a content block has {MAX_BLOCK_BYTES:,} at most")
        for name, size in sizes.items()
        if size > MAX_BLOCK_BYTES
    ]
    if len(blocks) > MOST_BLOCKS:
        problems.append(Problem(loc=(_FIELD,), msg=f"{len(blocks)} content blocks; {MOST_BLOCKS} at most"))
    if sum(sizes.values()) > MOST_BYTES:
        problems.append(Problem(loc=(_FIELD,), msg=f"{sum(sizes.values()):,} bytes in all; {MOST_BYTES:,} at most"))
    if problems:
        raise Invalid(*problems)


def _problems_of_templates(blocks: Mapping[str, str]) -> Iterator[Problem]:
    for name in blocks:
        try:
            compile_block(name, blocks)
        except TemplateSyntaxInvalid as error:
            yield error.problem_at(_FIELD, name)


def _refuse_breaking(
    automation: Automation, before: Mapping[str, str], after: Mapping[str, str], what: str, way_out: str
) -> None:
    for text in texts_of(automation):
        problem = _problem_of(text, after)
        if problem is not None and _problem_of(text, before) is None:
            at = ".".join(map(str, text[0]))
            raise Conflict(f"{what} would no longer work: {at}: {problem}; {way_out}")


def _problem_of(text: Text, blocks: Mapping[str, str]) -> str | None:
    """Say why a template that may include blocks does not compile with these."""
    _, written, escape, dialect = text
    if dialect != "braze" or not includes_blocks(written):
        return None
    try:
        compile_template(written, escape=escape, dialect=dialect, blocks=blocks)
    except TemplateSyntaxInvalid as error:
        return str(error)
    return None
