"""The report: what was found in mined models, as a page without scripts and as Markdown, with the data beside.

Here: which sentences, tables and figures a report has, and how they are written. What is a finding is said by
`pipeline.analyse`; figures come from `explorer.kinds`.
"""

from explorer.report.write import write_report

__all__ = ["write_report"]
