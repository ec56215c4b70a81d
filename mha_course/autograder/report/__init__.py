"""What a class has done in an assignment: one HTML page and one table, without any execution.

`classroom` reads what is there, `measures` and `mistakes` count, `similarity` compares, and `page`
and `table` write. Whatever learners wrote is hostile until proven otherwise, in a report, too.
"""
