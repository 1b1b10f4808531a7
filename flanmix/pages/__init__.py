"""HTML pages: a run's report, the mixture card, the page of all templates; and the text tables.

Modules here hold data and numbers; the HTML is in `templates/` (Jinja2) and `style.css`. A page is
one file that needs nothing else: no script, no font, no network.
"""
