"""The `dna-zoo` command: it parses and draws.

Here: one module for each command, options, tables, messages.
Not here: logic, SQL, figures. A command calls one function of a package below and shows what comes back.
"""
