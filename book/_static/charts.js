// Draws every chart that a page of the book declares: <div class="avsink-chart"> with a Vega-Lite spec inside.
//
// 1. Width: facets wrap to as many columns as fit; legends likewise. Redrawn when the column of text changes its width.
// 2. Colours: of axes and text, those of the page's light or dark theme. Redrawn when the reader switches.
// 3. State: data-state becomes "drawn" or "failed", which is what tests/test_book.py looks at. A failure says so on the
//    page, because a blank space looks like an empty result.

(() => {
  const PANEL = 250; // least width of a facet's panel, in px

  function theme(columns) {
    const dark = document.documentElement.dataset.theme === "dark";
    const text = dark ? "#ced6dd" : "#323232";
    const faint = dark ? "#3a4048" : "#e4e6e9";
    const line = dark ? "#6b7480" : "#a9b0b8";
    const font = getComputedStyle(document.body).fontFamily;
    const label = { labelColor: text, titleColor: text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 };
    return {
      background: "transparent",
      font,
      view: { stroke: null },
      axis: { ...label, gridColor: faint, domainColor: line, tickColor: line, titlePadding: 8, labelOverlap: true },
      axisX: { grid: false },
      header: { ...label, labelFontSize: 13, labelPadding: 6 },
      legend: { ...label, columns, columnPadding: 14, titlePadding: 6, offset: 12, symbolStrokeWidth: 2 },
      title: { color: text },
    };
  }

  // `axes` is the room for what stands beside the panels; Vega fits a single view by itself, facets and stacks it does not.
  function fitted(spec, width, axes) {
    if (spec.vconcat) return { ...spec, vconcat: spec.vconcat.map((view) => ({ ...view, width: width - axes })) };
    const shape = spec.usermeta?.ratio ? { height: Math.round(width * spec.usermeta.ratio) } : {}; // a plane, not axes
    if (!spec.facet) return { ...spec, ...shape, autosize: { type: "fit-x", contains: "padding" } };
    const columns = Math.max(1, Math.min(spec.columns ?? 3, Math.floor(width / PANEL)));
    const gap = 28; // between panels
    const panel = Math.floor((width - axes - gap * (columns - 1)) / columns);
    const resolve = { ...spec.resolve, axis: { ...spec.resolve?.axis, x: "independent" } };
    const ownAxes = { resolve, spacing: { column: gap, row: 74 }, bounds: "flush" };
    return { ...spec, ...ownAxes, columns, spec: { ...spec.spec, width: panel } };
  }

  // The names in the domains of all scales. Rows are passed over: they may look like anything.
  function names(spec) {
    if (Array.isArray(spec)) return spec.flatMap(names);
    if (spec === null || typeof spec !== "object") return [];
    const { datasets, scale, ...rest } = spec;
    const domain = Array.isArray(scale?.domain) ? scale.domain.filter((name) => typeof name === "string") : [];
    return domain.concat(Object.values(rest).flatMap(names));
  }

  // How many entries of the legend fit beside each other, right of the axis.
  function legendColumns(spec, width) {
    const longest = Math.max(4, ...names(spec).map((name) => name.length));
    return Math.max(1, Math.floor((width - 70) / (36 + 6.2 * longest)));
  }

  async function draw(chart, axes = 70) {
    const { spec, place } = chart;
    const width = place.clientWidth;
    if (!width) return; // inside something folded; its ResizeObserver calls again when it opens
    chart.width = width;
    const config = theme(legendColumns(spec, width));
    const actions = { export: true, source: false, compiled: false, editor: false };
    try {
      chart.view?.finalize();
      const options = { config, actions, renderer: "svg", tooltip: { theme: document.documentElement.dataset.theme } };
      chart.view = await vegaEmbed(place, fitted(spec, width, axes), options);
      const excess = Math.ceil(place.querySelector("svg.marks").getBoundingClientRect().width - width);
      const apart = spec.facet || spec.vconcat;
      if (apart && excess > 0 && axes < 320) return draw(chart, axes + excess + 3);
      place.parentElement.dataset.state = "drawn";
    } catch (error) {
      failed(place, error);
    }
  }

  function failed(place, error) {
    place.parentElement.dataset.state = "failed";
    place.textContent = `This chart could not be drawn (${error.message}). Its data are below.`;
  }

  function declare(element) {
    const place = document.createElement("div");
    element.append(place);
    let spec;
    try {
      spec = JSON.parse(element.querySelector("script").textContent);
    } catch (error) {
      failed(place, error);
      return null;
    }
    const chart = { spec, place, width: 0, view: null, done: Promise.resolve() };
    chart.redraw = () => { chart.done = chart.done.then(() => draw(chart)); }; // one after the other
    new ResizeObserver(() => { if (Math.abs(place.clientWidth - chart.width) > 8) chart.redraw(); }).observe(place);
    return chart;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const charts = [...document.querySelectorAll(".avsink-chart")].map(declare).filter(Boolean);
    const themed = new MutationObserver(() => charts.forEach((chart) => chart.redraw()));
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  });
})();
