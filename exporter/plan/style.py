"""The report's styles: light, dark, on paper, and on a phone."""

STYLE = """
:root {
  --page: #fff; --ink: #1a2330; --faint: #5a6675; --rule: #dde3ea; --panel: #f4f6f9;
  --demand: #b9c7da; --missing: #c2372e; --following: #b26a00; --ahead: #0b7a5c; --good: #e5f4ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12171f; --ink: #e7ecf2; --faint: #9aa7b6; --rule: #2a3441; --panel: #1a222d;
    --demand: #3b4d66; --missing: #f0675c; --following: #e8a33d; --ahead: #3ecf9e; --good: #15332a;
  }
}
@media print {
  :root {
    --page: #fff; --ink: #000; --faint: #444; --rule: #ccc; --panel: #f4f6f9;
    --demand: #b9c7da; --missing: #c2372e; --following: #b26a00; --ahead: #0b7a5c; --good: #e5f4ee;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 940px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: clamp(21px, 3.4vw, 29px); line-height: 1.3; font-weight: 650; margin: 4px 0 24px; }
h2 { font-size: 19px; margin: 48px 0 4px; }
p, pre { margin: 0; }
.kicker { color: var(--ahead); font-weight: 600; }
.lead { color: var(--faint); margin-bottom: 12px; max-width: 70ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; }
.tiles div { background: var(--panel); border-radius: 10px; padding: 14px 16px; }
.tiles p { color: var(--faint); font-size: 13.5px; }
.tiles strong { display: block; font-size: 22px; font-weight: 650; font-variant-numeric: tabular-nums; }
.figure { overflow-x: auto; }
.figure > svg { display: block; width: 100%; min-width: 620px; height: auto; }
svg text { font-size: 12px; fill: var(--faint); }
svg text.label { fill: var(--ink); font-size: 13px; }
svg text.strong { font-weight: 650; }
.rule { stroke: var(--rule); }
.split { stroke: var(--faint); stroke-dasharray: 3 3; }
.learned { fill: var(--panel); }
path.demand, rect.demand { fill: var(--demand); }
path.missing, rect.missing { fill: var(--missing); }
rect.following { fill: var(--following); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.line.following { stroke: var(--following); }
.line.ahead { stroke: var(--ahead); }
.point { fill: var(--faint); stroke: var(--page); stroke-width: 1.5; }
.point.today { fill: var(--missing); }
.point.following { fill: var(--following); }
.point.ahead { fill: var(--ahead); }
.legend { color: var(--faint); font-size: 14px; margin-bottom: 6px; }
.key { display: inline-block; width: 14px; height: 10px; margin: 0 5px 0 10px; border-radius: 2px; }
.key:first-child { margin-left: 0; }
.key.demand { background: var(--demand); }
.key.missing { background: var(--missing); }
.key.following, .key.ahead { height: 3px; vertical-align: 3px; }
.key.following { background: var(--following); }
.key.ahead { background: var(--ahead); }
table { border-collapse: collapse; width: 100%; min-width: 760px; font-size: 14px; }
td { font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 10px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { font-weight: 400; }
thead th { color: var(--faint); font-size: 13px; vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 8px; }
td:nth-child(2) { white-space: nowrap; }
tr.best { background: var(--good); }
tr.best th, tr.best td { font-weight: 600; }
tr.part th { color: var(--faint); font-size: 13px; padding-top: 18px; text-align: left; }
.mark { background: var(--ahead); color: var(--page); border-radius: 9px; padding: 1px 8px; font-size: 12px; }
.bar { display: block; width: 100%; height: 4px; margin-top: 4px; }
pre { background: var(--panel); border-radius: 10px; padding: 16px 18px; overflow-x: auto; font-size: 13.5px; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
ul { padding-left: 20px; margin: 12px 0 0; max-width: 80ch; }
li { margin: 5px 0; }
.reasons { margin-top: 16px; }
footer { color: var(--faint); font-size: 13.5px; margin-top: 48px; }
@media screen and (max-width: 560px) { main { padding: 24px 16px 48px; } h2 { margin-top: 36px; } }
"""

PRINT = """
@media print {
  @page { margin: 13mm; }
  body { font-size: 12px; line-height: 1.45; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 19px; margin-bottom: 14px; }
  h2 { font-size: 15px; margin-top: 22px; }
  h2, .lead, .legend { break-after: avoid; }
  .lead { max-width: none; }
  .tiles { grid-template-columns: repeat(4, 1fr); gap: 8px; }
  .tiles div { padding: 9px 11px; }
  .tiles p { font-size: 11px; }
  .tiles strong { font-size: 17px; }
  .legend, footer, pre { font-size: 11px; }
  .figure { overflow: visible; break-inside: avoid; }
  .figure > svg, table { min-width: 0; }
  table, thead th, tr.part th, .mark { font-size: 10.5px; }
  th, td { padding: 4px 6px; }
  td { white-space: nowrap; }
  tr.part th { padding-top: 10px; }
  pre { padding: 10px 12px; break-inside: avoid; white-space: pre-wrap; }
  ul { max-width: none; margin-top: 8px; }
  li { margin: 3px 0; break-inside: avoid; }
  footer { margin-top: 20px; }
}
"""
"""On paper: all of it fits, without scrollbars, and nothing is torn apart. After STYLE."""
