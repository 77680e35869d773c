"""The look of the page: one style sheet, light and dark, wide and narrow."""

CSS = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #59636e; --line: #dfe3e8; --page: #fff; --raised: #f6f8fa;
  --accent: #0b62a4; --good: #0a6b4b; --good-bg: #dcf3ea; --bad: #a33a00; --bad-bg: #fdeadf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b1; --line: #333b44; --page: #15191e;
  --raised: #1d2329; --accent: #6cb6ef; --good: #7fdcb8; --good-bg: #123a2d; --bad: #ffb088; --bad-bg: #47220f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK KR",
  "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei", "Malgun Gothic", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 46rem; } ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
a { color: var(--accent); } code { font: .88em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
nav { font-size: .9rem; } nav a { margin-right: 1rem; white-space: nowrap; }
.soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .32rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
thead .side { text-align: center; color: var(--ink); } thead .measure { white-space: normal; min-width: 5.2rem; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th, .left { text-align: left; font-weight: 500; }
.numbers th:first-child { position: sticky; left: 0; background: var(--page); border-right: 1px solid var(--line); }
.numbers .group th, .numbers thead th:first-child { background: var(--raised); }
.group th { font-weight: 600; } .numbers .group th { border-right: 0; } .group span { position: sticky; left: .7rem; }
.start { color: var(--soft); } .half { color: var(--soft); } td b { font-weight: 700; }
figure { margin: 1.5rem 0 2rem; } figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 8px; padding: .5rem;
  border: 1px solid var(--line); margin-bottom: .5rem; }
.card { border: 1px solid var(--line); border-radius: 8px; margin: 0 0 1rem; overflow: hidden; }
.card header { background: var(--raised); padding: .55rem .8rem; }
.card dl { margin: 0; padding: .3rem .8rem .5rem; display: grid; grid-template-columns: minmax(5.5rem, max-content) 1fr; }
.card dt, .card dd { margin: 0; padding: .28rem 0; border-top: 1px solid var(--line); }
.card dt { color: var(--soft); font-size: .88rem; padding-right: 1rem; }
.card dl > :nth-child(-n+2) { border-top: 0; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin-right: .5rem; }
.badge { display: inline-block; font-size: .75rem; line-height: 1.5; padding: 0 .45rem; border-radius: 999px;
  border: 1px solid var(--line); color: var(--soft); margin-right: .3rem; white-space: nowrap; }
.good { background: var(--good-bg); color: var(--good); border-color: transparent; }
.bad { background: var(--bad-bg); color: var(--bad); border-color: transparent; }
@media (max-width: 34rem) { body { padding: 1.25rem .9rem 3rem; } h1 { font-size: 1.4rem; }
  th, td { padding: .3rem .5rem; } .card dl { grid-template-columns: 1fr; } .card dd { border-top: 0; padding-top: 0; }
  .card dt { padding-bottom: 0; } .card dl > :nth-child(2) { border-top: 0; } }
"""
