"""What came of a run, told: report.py has what is told; terminal.py, page.py and files.py tell it."""
