"""The pipeline: fetch -> extract -> order -> fit -> analyse -> persist, and the runner that chains them."""
