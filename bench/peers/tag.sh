#!/usr/bin/env bash
# What bench/tag.py reads and compares with, under .bench/: datatrove 0.10.1 (its filters, fasttext, trafilatura), HTML
# documentation from Debian packages, and two public sets of pages. Safe to repeat; about 5 minutes and 1.5 GB once.
# Nothing of it goes into the project: the pages are their owners'.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .bench/debs .bench/docs
if ! test -e .bench/datatrove/.ready; then
  "${PYTHON:-python3}" -m venv .bench/datatrove
  .bench/datatrove/bin/python -m pip install --quiet --disable-pip-version-check "datatrove[processing]==0.10.1" spacy lxml_html_clean
  touch .bench/datatrove/.ready
fi
if ! test -e .bench/docs/.ready && command -v apt-get >/dev/null; then
  for package in python3.11-doc r-doc-html octave-doc python-sympy-doc python-scipy-doc python-pandas-doc postgresql-doc-15 \
    maxima-doc sqlite3-doc python-statsmodels-doc gap-doc python-mpmath-doc erlang-doc; do
    (cd .bench/debs && apt-get download --quiet "$package") || echo "$package: not to be had here; the others do"
  done
  for package in .bench/debs/*.deb; do dpkg -x "$package" .bench/docs; done
  touch .bench/docs/.ready
fi
for repository in opendatalab/magic-html scrapinghub/article-extraction-benchmark; do
  place=.bench/pages/${repository##*/}
  test -e "$place" || git clone --quiet --depth 1 "https://github.com/$repository" "$place"
done
