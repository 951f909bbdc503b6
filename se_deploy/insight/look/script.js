"use strict";
// Charts are drawn by the library that travels compressed in the page; nothing is fetched.
async function draw() {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old for the charts; the tables hold the numbers");
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.appendChild(script);
  for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("figures").textContent))) {
    await Plotly.newPlot(id, figure.data, figure.layout, { responsive: true, displayModeBar: false });
  }
  document.body.dataset.drawn = "yes";
}
draw().catch((problem) => { document.getElementById("problem").textContent = problem.message; document.body.dataset.drawn = "no"; });
