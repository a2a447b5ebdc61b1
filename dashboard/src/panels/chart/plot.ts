// The chart itself, on a canvas. It alone knows the chart library, which is loaded when the first chart is shown.

import {
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  CrosshairMode,
  LineSeries,
  LineStyle,
  type CandlestickData,
  type IChartApi,
  type IPriceLine,
  type IRange,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  type MouseEventParams,
  type SeriesMarker,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
  TickMarkType,
} from "lightweight-charts"
import { wallMoment, wallParts } from "../../format/times.ts"
import type { Palette } from "./palette.ts"
import type { ChartView, Level, Mark, Slot } from "./view.ts"

const SHAPES = { call: "arrowUp", put: "arrowDown", none: "square" } as const
const PLACES = { call: "belowBar", put: "aboveBar", none: "aboveBar" } as const

/** Pixels from which on the levels have their names at the axis too; else the legend alone has them. */
const WIDE = 600
/** These shares of the places are left free: at the left for the first time at the axis, at the right for the names of the levels. */
const [LEFT, RIGHT] = [0.025, 0.07]
/** So many places are in sight at least. */
const FEWEST = 10

/** Where the first and the last bar in sight begin, seconds of New York's clock. */
export interface Sight {
  readonly from: number
  readonly to: number
}

/** What the chart tells of: the place below the pointer (null where there is no bar), and what is in sight (null where all is). */
export interface Listener {
  readonly onHover: (time: number | null) => void
  readonly onSight: (sight: Sight | null) => void
}

/** A chart in an element, until `destroy`. */
export class Plot {
  private readonly chart: IChartApi
  private readonly candles: ISeriesApi<"Candlestick">
  private readonly vwap: ISeriesApi<"Line">
  private readonly marks: ISeriesMarkersPluginApi<Time>
  private lines: readonly IPriceLine[] = []
  private key = ""
  private palette: Palette | null = null
  private awaited: IRange<number> | null = null
  private slots: readonly Slot[] = []

  constructor(element: HTMLElement, { onHover, onSight }: Listener) {
    this.chart = createChart(element, {
      autoSize: true,
      // The logo writes a style into the page, which its policy refuses; the notice and the link stand below the chart.
      layout: { attributionLogo: false },
      crosshair: { mode: CrosshairMode.Normal },
      localization: { locale: "en-US", timeFormatter: momentOf },
      // The wheel scrolls the page; buttons, keys and pinching zoom.
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
      timeScale: {
        timeVisible: true,
        secondsVisible: false,
        shiftVisibleRangeOnNewBar: false,
        tickMarkFormatter: tickOf,
      },
    })
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false })
    this.vwap = this.chart.addSeries(LineSeries, {
      lineWidth: 2,
      priceLineVisible: false,
      lastValueVisible: false,
      crosshairMarkerVisible: false,
    })
    this.marks = createSeriesMarkers(this.candles, [])
    this.chart.subscribeCrosshairMove((event: MouseEventParams) => {
      if (event.sourceEvent !== undefined) onHover(typeof event.time === "number" ? event.time : null)
    })
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
      this.awaited = null
      onSight(this.sight)
    })
  }

  /** Draw a view. What is in sight stays in sight, unless the view is of something else than before. */
  show(view: ChartView, palette: Palette): void {
    const seen = view.key === this.key ? this.range : null
    this.recolour(palette)
    this.slots = view.slots
    this.candles.setData(view.slots.map(candleOf))
    this.vwap.setData(view.vwap.map(({ time, value }) => ({ time: time as UTCTimestamp, value })))
    this.marks.setMarkers(view.marks.map((mark) => markerOf(mark, palette)))
    this.drawLevels(view.levels, palette)
    this.key = view.key
    if (seen === null) this.showAll()
    else this.bring(seen)
  }

  /** All places in sight. */
  showAll(): void {
    this.chart.priceScale("right").applyOptions({ autoScale: true })
    const places = Math.max(this.slots.length, FEWEST)
    if (this.slots.length > 0) this.bring({ from: -0.5 - LEFT * places, to: places - 0.5 + RIGHT * places })
  }

  /** Show fewer places (`factor` below 1) or more, around the middle or the place of a time. */
  zoom(factor: number, around: number | null): void {
    const seen = this.range
    if (seen === null) return
    const place = this.slots.findIndex(({ time }) => time === around)
    const middle = place < 0 ? (seen.from + seen.to) / 2 : place
    const half = Math.min(this.slots.length, Math.max(FEWEST / 2, ((seen.to - seen.from) / 2) * factor))
    this.bring({ from: middle - half, to: middle + half })
  }

  /** Put the cross on a bar, and bring it into sight; null takes it away. */
  point(time: number | null): void {
    const place = this.slots.findIndex((slot) => slot.time === time)
    const bar = this.slots[place]?.bar
    if (bar === null || bar === undefined || time === null) {
      this.chart.clearCrosshairPosition()
      return
    }
    this.bringIntoSight(place)
    this.chart.setCrosshairPosition(bar.close, time as UTCTimestamp, this.candles)
  }

  destroy(): void {
    this.chart.remove()
  }

  /** The places in sight, or those that the next frame brings into sight: the library tells of a new range once it is drawn. */
  private get range(): IRange<number> | null {
    return this.awaited ?? this.chart.timeScale().getVisibleLogicalRange()
  }

  private bring(range: IRange<number>): void {
    this.awaited = range
    this.chart.timeScale().setVisibleLogicalRange(range)
  }

  private get sight(): Sight | null {
    const seen = this.range
    if (seen === null || (seen.from <= 0 && seen.to >= this.slots.length - 1)) return null
    const [first, last] = [
      this.slots[Math.max(0, Math.ceil(seen.from))],
      this.slots.at(Math.min(-1, Math.floor(seen.to) - this.slots.length)),
    ]
    return first === undefined || last === undefined ? null : { from: first.time, to: last.time }
  }

  private bringIntoSight(place: number): void {
    const seen = this.range
    if (seen === null || (place >= seen.from && place <= seen.to)) return
    const by = place < seen.from ? place - seen.from - 1 : place - seen.to + 1
    this.bring({ from: seen.from + by, to: seen.to + by })
  }

  private drawLevels(levels: readonly Level[], palette: Palette): void {
    for (const line of this.lines) this.candles.removePriceLine(line)
    const isWide = this.chart.timeScale().width() > WIDE
    this.lines = levels.map((level) =>
      this.candles.createPriceLine({
        price: level.price,
        color: palette[level.tone],
        lineWidth: 1,
        lineStyle: level.dashed ? LineStyle.Dashed : LineStyle.Solid,
        axisLabelVisible: level.isNow || isWide,
        title: level.title,
      }),
    )
  }

  private recolour(palette: Palette): void {
    if (palette === this.palette) return
    this.palette = palette
    const { call: up, put: down, surface: ground, line, edge } = palette
    this.chart.applyOptions({
      layout: {
        background: { color: ground },
        textColor: palette.quiet,
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { visible: false }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
      crosshair: { vertLine: { color: edge }, horzLine: { color: edge } },
    })
    // A bar that rose is hollow and one that fell is filled, so that colour does not stand alone.
    this.candles.applyOptions({
      upColor: ground,
      borderUpColor: up,
      wickUpColor: up,
      downColor: down,
      borderDownColor: down,
      wickDownColor: down,
    })
    this.vwap.applyOptions({ color: palette.replay })
  }
}

/** A place of the axis below the cross. */
function momentOf(time: Time): string {
  return wallMoment(Number(time))
}

/** A tick of the axis of time. The library itself would write it with Intl. */
function tickOf(time: Time, type: TickMarkType): string {
  const { year, month, day, clock } = wallParts(Number(time))
  switch (type) {
    case TickMarkType.Year:
      return year
    case TickMarkType.Month:
      return month
    case TickMarkType.DayOfMonth:
      return day
    case TickMarkType.Time:
    case TickMarkType.TimeWithSeconds:
      return clock
  }
}

function candleOf({ time, bar }: Slot): CandlestickData | WhitespaceData {
  const at = time as UTCTimestamp
  if (bar === null) return { time: at }
  const { open, high, low, close } = bar
  return { time: at, open, high, low, close }
}

function markerOf({ time, text, tone }: Mark, palette: Palette): SeriesMarker<Time> {
  return {
    time: time as UTCTimestamp,
    text,
    shape: SHAPES[tone],
    position: PLACES[tone],
    color: palette[tone],
  }
}
