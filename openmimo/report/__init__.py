"""Reads a run's logs, writes one HTML page: `openmimo.report.page.write_report`. Nothing of ours depends on it."""
