"""The free model: a packaged classifier, and the training of one on a table of your own."""
