#!/usr/bin/env bash
# What bench/extract.py compares with and learns from, under .bench/: trafilatura, resiliparse and magic-html in one environment, gold pages
# of two public repositories, Debian's documentation packages and pdftotext. Safe to repeat; a few minutes and 1 GB once.
# magic-html's wheel asks for Python 3.12 but runs on 3.11; its cchardet needs building, faust-cchardet is the same module.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.bench/extract/bin/python
if ! test -e .bench/extract/.ready; then
  mkdir -p .bench
  "${PYTHON:-python3}" -m venv .bench/extract
  $python -m pip install --quiet --disable-pip-version-check trafilatura==2.3.1 resiliparse==2.0.1 "selectolax>=1.0" "numpy>=2" \
    scikit-learn==1.9.1 docutils==0.23 "pypdfium2>=5" "pyarrow>=18" py_asciimath lxml_html_clean faust-cchardet charset-normalizer
  $python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python magic-html==0.1.8
  touch .bench/extract/.ready
fi
mkdir -p .bench/gold .bench/debs .bench/docs
for repository in opendatalab/magic-html scrapinghub/article-extraction-benchmark; do
  place=.bench/gold/$(basename $repository)
  test -e "$place" || git clone --quiet --depth 1 "${GIT_HOST:-https://github.com}/$repository" "$place"
done
if command -v apt-get >/dev/null; then
  for package in python3.11-doc python-sympy-doc python-statsmodels-doc python-mpmath-doc sphinx-doc python-brian-doc poppler-utils libpoppler126 r-base-core libblas3; do
    place=.bench/docs/$package
    test -e "$place" && continue
    (cd .bench/debs && apt-get download --quiet "$package" >/dev/null 2>&1) || { echo "no package $package" >&2; continue; }
    mkdir -p "$place" && dpkg -x .bench/debs/"$package"_*.deb "$place"
  done
fi
