"use strict";
// The plotting library travels compressed in the page; nothing is fetched.
async function plotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.appendChild(script);
}
async function draw() {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old for the charts; the tables hold every number");
  await plotly();
  for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("figures").textContent))) {
    await Plotly.newPlot(id, figure.data, figure.layout, { responsive: true, displayModeBar: false });
  }
  const resize = (width) => document.querySelectorAll(".chart").forEach((chart) => Plotly.relayout(chart, { width, autosize: !width }));
  window.addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((d) => { d.open = true; }); resize(660); });
  window.addEventListener("afterprint", () => resize(null));
  document.body.dataset.drawn = "yes";
}
draw().catch((problem) => { document.getElementById("problem").textContent = problem.message; document.body.dataset.drawn = "no"; });
