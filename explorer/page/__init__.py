"""The interactive explorer: one file that opens offline and sends nothing anywhere.

`scene` takes what is shown out of the database and the weights; `assets/` draws it in a browser, as ES modules without
a framework that other pages can host too; `write` puts both into one HTML file.
"""
