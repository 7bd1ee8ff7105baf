"""The section on how runs were made: what a sceptical reader needs to make them again."""

from membench.report.contents import Contents, ReportHeading
from membench.report.frame import is_ladder
from membench.report.parts import Command, Items, Part
from membench.report.showing import paragraph, shown_table
from membench.report.text import escape_markdown


def how_it_was_run(contents: Contents) -> list[Part]:
    """Return the commands, seeds, machines and versions, what is missing or was lost, and every run."""
    num_records = len(contents.records)
    num_planned, num_lost = num_records + len(contents.missing), len(contents.tables["lost"].shown)
    counted = "with the horizons solved" if is_ladder(contents.frame) else "as never solved"
    lost = f"; {num_lost} of them diverged or failed" if num_lost else ""
    return [
        *map(Command, contents.heading.commands),
        *_changes(contents.heading),
        paragraph(
            f"""
            With the seeds {", ".join(map(str, contents.heading.seeds))}. {num_records} of {num_planned}
            planned runs have a record{lost}.
            """
        ),
        *_list(
            [f"Timed on: {escape_markdown(machine)}" for machine in contents.machines]
            + [f"Versions: {escape_markdown(version)}" for version in contents.versions]
        ),
        *_gaps(contents),
        *shown_table(
            contents,
            "lost",
            f"""
            Runs that diverged or failed. They count in every number here: with the success that they had
            reached or, where none could be measured, at chance; and {counted}.
            """,
        ),
        *shown_table(contents, "runs", "Every run.", is_long=True),
        paragraph("Every table lies in `tables/` as `.csv` too, with unrounded values."),
    ]


def _changes(heading: ReportHeading) -> list[Part]:
    """Return before which of the commands the suite was changed, if before any."""
    if not heading.suite_changes:
        return []
    told = paragraph(
        """
        **Changed suite**: before these of the commands the suite, or the preset laid over it, was changed;
        what ran earlier and was not run again is of the suite as it was then.
        """
    )
    lines = [
        f"command {place + 1}: {escape_markdown(heading.commands[place])}" for place in heading.suite_changes
    ]
    return [told, *_list(lines)]


def _gaps(contents: Contents) -> list[Part]:
    """Return what is missing, damaged or mixed up."""
    found: list[Part] = []
    if contents.missing:
        found.append(
            paragraph(
                "**Missing**: these runs are planned and have no record; everything here is without them."
            )
        )
        found += _list([f"no record: {escape_markdown(label)}" for label in contents.missing])
    if contents.complaints:
        found.append(paragraph("**Damaged files**: these are no records."))
        found += _list([f"skipped: {escape_markdown(complaint)}" for complaint in contents.complaints])
    if contents.num_repeated:
        found.append(
            paragraph(
                f"""
                **Mixed settings**: {contents.num_repeated} runs share memory, task and seed with another run
                and differ from it in what tells no cells apart, such as the device; all are counted together.
                A folder of their own keeps them apart.
                """
            )
        )
    return found


def _list(items: list[str]) -> list[Part]:
    return [Items(items)] if items else []
