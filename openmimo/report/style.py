"""The report's looks: one style sheet, light and dark by the reader's own setting, from phone to desktop.

Every colour is a variable; plot.py writes the same names into the pictures. Text colours have a contrast of at least
4.5 : 1 on the paper and on cards, lines of pictures at least 3 : 1.
"""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --card: #f6f7f9; --ink: #1b1f24; --muted: #596170; --line: #dde1e7; --grid: #e6e9ee;
  --band: #eef1f6; --base: #5a6372; --rl-zero: #b4500b; --sft: #1b62b3; --rl: #0a7748; --accent: #8a3fa8;
  --right: #0a7748; --wrong: #b3261e; --note: #fff6dd; --note-line: #d9a400;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161b; --card: #1a2027; --ink: #e7eaee; --muted: #a6b0bd; --line: #2f3843; --grid: #29313b;
    --band: #1e252e; --base: #aab4c0; --rl-zero: #f5a055; --sft: #74b6f8; --rl: #4fd199; --accent: #d39bec;
    --right: #4fd199; --wrong: #ff8f85; --note: #2b2614; --note-line: #b98d10;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.5rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
header, nav, main, footer { max-width: 1180px; margin-inline: auto; padding-inline: clamp(14px, 3vw, 28px); }
header { padding-top: 2.2rem; }
h1 { font-size: clamp(1.9rem, 5vw, 2.8rem); line-height: 1.1; letter-spacing: -0.02em; margin-block: 0.1rem 0.8rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.5rem; letter-spacing: -0.01em; margin: 0 0 0.7rem; line-height: 1.2; }
h3 { font-size: 1rem; margin: 0 0 0.35rem; }
p { margin: 0 0 0.8rem; }
section > p, header > p:not(.note), footer > p { max-width: 75ch; }
section { padding-block: 2.2rem 1.2rem; border-top: 1px solid var(--line); }
main > section:first-child { border-top: 0; }
.kicker { color: var(--muted); font-size: 0.85rem; letter-spacing: 0.08em; text-transform: uppercase; margin: 0; }
.lead { font-size: 1.12rem; }
.absent { color: var(--muted); font-style: italic; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 8px; top: 8px; background: var(--paper); color: var(--ink); padding: 6px 12px; z-index: 3; }
a { color: inherit; }
:focus-visible { outline: 2px solid var(--sft); outline-offset: 2px; }
nav { position: sticky; top: 0; z-index: 2; background: var(--paper); display: flex; gap: 1.3rem; overflow-x: auto;
  padding-block: 0.55rem; font-size: 0.92rem; border-bottom: 1px solid var(--line); scrollbar-width: none; }
nav a { color: var(--muted); text-decoration: none; white-space: nowrap; padding: 2px 0; }
nav a:hover { color: var(--ink); text-decoration: underline; }
.note { background: var(--note); border-left: 4px solid var(--note-line); padding: 0.7rem 1rem; border-radius: 6px;
  margin-bottom: 0.9rem; }
.note ul { margin: 0.3rem 0 0; padding-left: 1.2rem; }
.facts { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin-block: 0.4rem 0.6rem; }
.facts dt { color: var(--muted); font-size: 0.8rem; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 1rem;
  margin-bottom: 1.2rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; }
.card p { margin: 0; color: var(--muted); font-size: 0.92rem; }
.card p.big { color: var(--ink); font-size: 2.1rem; font-weight: 700; line-height: 1.25; letter-spacing: -0.02em; }
.card p.big small { font-size: 1rem; font-weight: 400; letter-spacing: 0; color: var(--muted); }
.badge { font-weight: 650; white-space: nowrap; color: var(--accent); }
.badge::before { content: ""; display: inline-block; width: 0.62em; height: 0.62em; border-radius: 2px;
  background: currentColor; margin-right: 0.4em; }
.badge.base { color: var(--base); } .badge.rl-zero { color: var(--rl-zero); }
.badge.sft { color: var(--sft); } .badge.rl { color: var(--rl); }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: 0.88rem; padding-bottom: 0.4rem; }
th, td { padding: 0.42rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 500; }
thead th { font-size: 0.92rem; border-bottom-color: var(--muted); }
td b { font-weight: 750; }
td small { color: var(--muted); font-size: 0.82em; white-space: nowrap; }
.scores tbody tr:first-child > * { font-size: 1.12rem; border-bottom-color: var(--muted); }
.scores tbody tr:last-child > * { border-top: 1px solid var(--muted); }
.costs td:nth-child(2) { width: 55%; text-align: left; }
.costs th:nth-child(2) { text-align: left; }
.timed { display: flex; align-items: center; gap: 0.7rem; }
.timed span:first-child { flex: 0 0 6.5em; }
.timed .bar { height: 0.7em; background: var(--sft); border-radius: 2px; min-width: 1px;
  display: block; }
.timed .track { flex: 1; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 0.5rem 2rem; }
.counts td, .counts th { overflow-wrap: anywhere; font-size: 0.92rem; padding-block: 0.25rem; }
.counts caption { color: var(--ink); font-weight: 600; }
.grid { display: grid; gap: 1.3rem 1.6rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
.grid + .grid { margin-top: 1.3rem; }
.grid.wide { grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--muted); font-size: 0.88rem; line-height: 1.45; margin-top: 0.3rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.4rem; padding: 0; margin: 0 0 0.8rem;
  font-size: 0.92rem; }
.legend li { display: flex; align-items: center; gap: 0.5rem; }
.legend svg { width: 38px; height: 12px; }
details > summary { cursor: pointer; }
section > details:not(.problem) { margin-top: 1.4rem; }
section > details:not(.problem) > summary { font-weight: 600; padding: 0.5rem 0; }
.problem { border: 1px solid var(--line); border-radius: 10px; margin-bottom: 0.8rem; background: var(--card); }
.problem > summary { padding: 0.7rem 1rem; display: flex; flex-wrap: wrap; justify-content: space-between;
  gap: 0.2rem 1.2rem; list-style: none; }
.problem > summary::-webkit-details-marker { display: none; }
.problem > summary .name { font-weight: 600; overflow-wrap: anywhere; }
.problem > summary .name::before { content: "▸"; display: inline-block; width: 1.1em; color: var(--muted); }
.problem[open] > summary .name::before { content: "▾"; }
.marks { list-style: none; display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; margin: 0; padding: 0;
  font-size: 0.86rem; }
.marks li { display: flex; gap: 0.4rem; }
.right { color: var(--right); font-weight: 600; white-space: nowrap; }
.wrong { color: var(--wrong); font-weight: 600; white-space: nowrap; }
.question { padding: 0 1rem; }
.question pre { max-height: 22rem; overflow-y: auto; }
.question p { margin: 0.4rem 0 0.8rem; }
pre { font: 0.82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: 0; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.88em;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); gap: 1px;
  background: var(--line); border-top: 1px solid var(--line); border-radius: 0 0 10px 10px; overflow: hidden; }
.answer { background: var(--paper); padding: 0.8rem 1rem 1rem; min-width: 0; border-top: 3px solid var(--accent); }
.answer.base { border-top-color: var(--base); } .answer.rl-zero { border-top-color: var(--rl-zero); }
.answer.sft { border-top-color: var(--sft); } .answer.rl { border-top-color: var(--rl); }
.answer h4 { display: flex; justify-content: space-between; gap: 0.5rem; margin: 0; font-size: 0.95rem; }
.answer .notes { color: var(--muted); font-size: 0.8rem; margin: 0 0 0.5rem; }
.answer pre { max-height: 26rem; overflow-y: auto; }
.think { color: var(--muted); }
footer { border-top: 1px solid var(--line); margin-top: 2rem; padding-block: 1.5rem 3rem; color: var(--muted);
  font-size: 0.9rem; }
footer h2 { font-size: 1.05rem; color: var(--ink); }
@media (max-width: 560px) {
  body { font-size: 15px; }
  th, td { padding: 0.4rem 0.3rem; }
  .scores td small { display: block; }
  .scores { font-size: 0.92rem; }
  .badge::before { margin-right: 0.3em; }
  .scores thead .badge::before { display: block; margin: 0 0 0.2em auto; }
  .timed span:first-child { flex-basis: 5.4em; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print { nav, .skip { display: none; } pre { max-height: none !important; } }
"""
