// From lines to the options of uPlot. Pure but for the colours, which are handed in.

import type uPlot from "uplot"

export const HEIGHT = 240
const DASH = [6, 4]
const DOTS = [2, 4]
const MARK_HEIGHT = 22

/** A line of a chart: its name, the token of its colour (tokens.css), and a style, since colour never stands alone. */
export interface Line {
  readonly name: string
  readonly token: string
  readonly style: "solid" | "dashed" | "dotted"
  readonly values: readonly (number | null | undefined)[]
  readonly hasPoints?: boolean
}

/** A vertical line with a name, like the place where the record begins. x: in the chart's own numbers. */
export interface Mark {
  readonly x: number
  readonly name: string
}

export type Limits = readonly [low: number, high: number]

export interface Plotted {
  readonly x: readonly number[]
  readonly lines: readonly Line[]
  readonly marks: readonly Mark[]
  /** What stands at a place of the horizontal axis. */
  readonly nameOf: (x: number) => string
  /** Between which values the vertical axis may lie, like shares between 0 and 1. */
  readonly limits: Limits
  /** How a value is written at the vertical axis. */
  readonly valueOf: (value: number) => string
}

/** The data of uPlot: the places, then the values of each line. */
export function dataOf({ x, lines }: Plotted): uPlot.AlignedData {
  return [[...x], ...lines.map((line) => [...line.values])]
}

/** The options of uPlot. colour: the browser's colour of a token. */
export function optionsOf(plotted: Plotted, width: number, colour: (token: string) => string): uPlot.Options {
  const axis = {
    stroke: colour("quiet"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { stroke: colour("line") },
  }
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    // The names of marks stand above the lines.
    ...(plotted.marks.length > 0 ? { padding: [MARK_HEIGHT, null, null, null] as uPlot.Padding } : {}),
    scales: { x: { time: false, range: padded }, y: { range: (_, low, high) => within(low, high, plotted.limits) } },
    axes: [
      { ...axis, incrs: wholeSteps(plotted.x), values: (_, places) => places.map(plotted.nameOf), space: 72 },
      { ...axis, values: (_, values) => values.map(plotted.valueOf), size: 56 },
    ],
    series: [{}, ...plotted.lines.map((line) => seriesOf(line, colour))],
    hooks: {
      draw: [
        (chart) => {
          drawMarks(chart, plotted.marks, colour)
        },
      ],
    },
  }
}

/** Half a place beside the first and last one, so that a single one can be seen. */
function padded(_: uPlot, low: number, high: number): [number, number] {
  return [low - 0.5, high + 0.5]
}

/** The range of an axis: a little beyond its values, never beyond its limits. Null where there are no values. */
export function within(low: number | null, high: number | null, [least, most]: Limits): [number, number] {
  if (low === null || high === null) return [least, most]
  const pad = Math.max((high - low) * 0.1, (most - least) * 0.02)
  return [Math.max(least, low - pad), Math.min(most, high + pad)]
}

function wholeSteps(x: readonly number[]): number[] {
  return [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((step) => step <= Math.max(1, x.length))
}

function seriesOf(line: Line, colour: (token: string) => string): uPlot.Series {
  const dash = line.style === "solid" ? {} : { dash: line.style === "dashed" ? DASH : DOTS }
  const shown = line.hasPoints === true ? { points: { show: true, size: 7 } } : {}
  return { label: line.name, stroke: colour(line.token), width: 2, ...dash, ...shown }
}

function drawMarks(chart: uPlot, marks: readonly Mark[], colour: (token: string) => string): void {
  const { ctx: canvas, bbox } = chart
  canvas.save()
  canvas.strokeStyle = canvas.fillStyle = colour("text")
  canvas.lineWidth = devicePixelRatio
  canvas.font = `${12 * devicePixelRatio}px sans-serif`
  canvas.textBaseline = "bottom"
  for (const mark of marks) {
    const x = Math.round(chart.valToPos(mark.x, "x", true))
    canvas.beginPath()
    canvas.moveTo(x, bbox.top)
    canvas.lineTo(x, bbox.top + bbox.height)
    canvas.stroke()
    canvas.textAlign = x > bbox.left + bbox.width / 2 ? "right" : "left"
    canvas.fillText(mark.name, x, bbox.top - 4 * devicePixelRatio)
  }
  canvas.restore()
}
