"""The look of the page: one style sheet, light and dark, wide and narrow."""

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1d2329; --soft: #59636e; --line: #dfe3e8; --page: #fff; --raised: #f6f8fa; --accent: #0b62a4;
  --good: #0a6b4b; --good-back: #dcf3ea; --bad: #a33a00; --bad-back: #fdeadf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --soft: #9aa5b1; --line: #333b44; --page: #15191e; --raised: #1d2329; --accent: #6cb6ef;
    --good: #7fdcb8; --good-back: #123a2d; --bad: #ffb088; --bad-back: #47220f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 78rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC",
    "Noto Sans CJK KR", "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei", "Malgun Gothic", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; }
h2 { border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, ul, figcaption { max-width: 46rem; }
ul { padding-left: 1.2rem; }
li { margin: .2rem 0; }
a { color: var(--accent); }
code { font: .88em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
nav { font-size: .9rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }

.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; text-align: right; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
thead .side { color: var(--ink); text-align: center; }
thead .measure { white-space: normal; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th, th.left, td.left { text-align: left; font-weight: 500; }
td b { font-weight: 700; }
.half, .start { color: var(--soft); }
.numbers th, .numbers td { padding: .3rem .36rem; }
.numbers th:first-child { position: sticky; left: 0; background: var(--page); padding-left: .7rem; }
.numbers .group th { background: var(--raised); font-weight: 600; }
.wraps thead th { white-space: normal; min-width: 4.5rem; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem; }
.half-wide { flex: 1 1 20rem; min-width: 0; max-width: 34rem; }
.half-wide td.left { white-space: normal; }
.group span { position: sticky; left: .7rem; }

figure { margin: 1.5rem 0 2.25rem; }
figure img {
  display: block; max-width: 100%; height: auto; margin-bottom: .5rem; padding: .6rem; background: #fff;
  border: 1px solid var(--line); border-radius: 8px;
}

.card { max-width: 60rem; margin: 0 0 1rem; border: 1px solid var(--line); border-radius: 8px; }
.card header { padding: .5rem .8rem; background: var(--raised); border-radius: 8px 8px 0 0; }
.card dl { display: grid; grid-template-columns: minmax(6.5rem, max-content) 1fr; }
.card dl { margin: 0; padding: .2rem .8rem .4rem; }
.card dt, .card dd { margin: 0; padding: .25rem 0; }
.card dt { padding-right: 1.25rem; color: var(--soft); font-size: .88rem; }
.text { margin-right: .5rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.badge {
  display: inline-block; margin-right: .3rem; padding: 0 .5rem; border-radius: 999px; background: var(--line);
  color: var(--soft); font-size: .75rem; line-height: 1.5; white-space: nowrap;
}
.good { background: var(--good-back); color: var(--good); }
.bad { background: var(--bad-back); color: var(--bad); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); margin: 0; }
.facts { gap: 0 1.5rem; font-size: .9rem; }
.facts div { display: flex; justify-content: space-between; gap: .8rem; padding: .2rem 0; }
.facts div { border-bottom: 1px solid var(--line); }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.apart { margin-right: .8rem; white-space: nowrap; }

@media (max-width: 34rem) {
  body { padding: 1.25rem .9rem 3rem; }
  h1 { font-size: 1.4rem; }
  .pane { overflow-x: auto; }
  .pane img { max-width: none; width: 36rem; }
  .card dl { grid-template-columns: 1fr; }
  .card dt { padding: .4rem 0 0; }
  .card dd { padding-top: 0; }
}
"""
