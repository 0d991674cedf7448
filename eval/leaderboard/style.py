"""The page's style sheet: readable without a web font, in light and dark, and on a narrow screen."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6775; --line: #d8dee6; --paper: #ffffff; --band: #f4f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #35404d; --paper: #151b22; --band: #1d252e; }
} body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; } main {
max-width: 1020px; margin: 0 auto; padding: 24px 20px 60px; } h1 { font-size: 26px; margin: 8px 0 4px; } h2 {
font-size: 19px; margin: 36px 0 8px; } .lead, .notes, .legend { color: var(--soft); } .notes { font-size: 13px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 12px 0;
width: 100%; } th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); vertical-align:
top; } th:first-child { text-align: left; white-space: nowrap; } thead th { font-size: 13px; color: var(--soft);
vertical-align: bottom; } td small { display: block; color: var(--soft); font-size: 11.5px; line-height: 1.35;
white-space: nowrap; } table.costs { font-size: 13px; } table.costs th, table.costs td { padding: 5px 6px; }
table.costs thead th { font-size: 12px; }
td.name, th.name { text-align: left; white-space: nowrap; }
tbody th { font-weight: 600; } tr.theirs th { font-weight: 400; font-style: italic; }
td.missing { color: var(--soft); } tr.rule th { background: var(--band); color: var(--soft); font-size: 12px;
font-weight: 400; padding: 3px 10px; } .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px,
1fr)); gap: 16px; } figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: 6px; } svg.plot {
display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; } svg .title { font-size: 13px;
font-weight: 600; fill: var(--ink); } svg .axis, svg .tick { fill: var(--soft); } svg .label { fill: var(--ink); } svg
.grid { stroke: var(--line); stroke-width: 1; } svg .dot { fill: var(--colour); stroke: var(--paper); stroke-width:
1.5; } svg .line { fill: none; stroke: var(--colour); stroke-width: 2; } .c0 { --colour: #2f6fde; } .c1 { --colour:
#d9622b; } .c2 { --colour: #2a9d6f; } .c3 { --colour: #a24bc4; } .c4 { --colour: #c8a200; } .c5 { --colour: #c93a5b; }
.c6 { --colour: #3aa6b9; } .c7 { --colour: #7a7f87; } .legend span { margin-right: 18px; } .swatch { display:
inline-block; width: 11px; height: 11px; border-radius: 50%; background: var(--colour); margin-right: 6px; } details {
border-bottom: 1px solid var(--line); padding: 6px 0; } summary { cursor: pointer; } dl { display: grid;
grid-template-columns: 90px 1fr; gap: 4px 12px; font-size: 13px; margin: 8px 0; } dt { color: var(--soft); } dd {
margin: 0; overflow-wrap: anywhere; }
"""
