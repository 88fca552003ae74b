/** The one style sheet of the page: it loads nothing. */
export const style = `
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #30363d); --soft: light-dark(#f6f8fa, #161b22); --dim: light-dark(#57606a, #8b949e);
  --get: #1a7f37; --post: #0969da; --put: #9a6700; --delete: #cf222e; }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; border-right: 1px solid var(--line); background: var(--soft); font-size: 13px; }
nav h2 { font-size: 13px; margin: 1rem 0 .25rem; }
nav a { display: flex; gap: .5rem; padding: 1px 0; color: inherit; text-decoration: none; overflow-wrap: anywhere; }
nav a:hover { text-decoration: underline; }
main { padding: 1rem 2rem 6rem; max-width: 62rem; }
h1 { margin: 0 0 .5rem; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 0; font-size: 16px; } h4 { margin: 1rem 0 .25rem; font-size: 13px; color: var(--dim); text-transform: uppercase; letter-spacing: .04em; }
a { color: light-dark(#0969da, #58a6ff); } p { margin: .5rem 0; } small, .kind { color: var(--dim); font-size: 13px; overflow-wrap: anywhere; }
code, pre { font: 13px/1.45 ui-monospace, monospace; } code { background: var(--soft); padding: 0 .25em; border-radius: 4px; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; overflow: auto; max-height: 28rem; }
article { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 1rem 0; }
article header { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
.method { font: bold 11px ui-monospace, monospace; text-transform: uppercase; min-width: 3.2rem; flex: none; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); } .delete { color: var(--delete); }
dl { margin: .25rem 0; display: grid; grid-template-columns: minmax(8rem, max-content) minmax(0, 1fr); gap: .15rem 1rem; }
dd { margin: 0; } dd dl { border-left: 2px solid var(--line); padding-left: .75rem; } dt b { color: var(--delete); }
details > summary { cursor: pointer; color: var(--dim); font-size: 13px; margin-top: .5rem; }
@media (max-width: 50rem) { body { display: block; } nav { position: static; height: auto; max-height: 40vh; border: 0; border-bottom: 1px solid var(--line); } main { padding: 1rem; } }
`;
