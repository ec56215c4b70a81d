"""The whole book as one PDF: the pages of the built site, put together and printed by a browser.

    make pdf                       # builds the book first, if anything in it has changed
    python -m mha_course.pdf       # prints the book as it was last built

`pages` makes one page of all pages; `printer` prints it, twice: page numbers in the list of
contents are known only once it has been printed. No cell runs, and nothing is fetched: what is on
paper is what is on the site, with everything that is folded open, and with the fallbacks of the
live figures. Answers of self-checks follow after the last question.
"""
