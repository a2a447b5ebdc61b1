import { describe, expect, it, vi } from "vitest"
import type { RecordedSignal, RecordPage, Signal } from "../../api/types.ts"
import { MOST_PAGES, nextQuery, pageReader } from "./pages.ts"
import { countsOf, entriesOf, latestOf, linesOf, tradesOf, type Cell } from "./running.ts"
import { differences, verdictOf } from "./verify.ts"
import { exitOf, plottedOf, standing, tradesInWords } from "./words.ts"

function recorded(day: string, hour: number, right: boolean | null, inSample = false): RecordedSignal {
  return {
    day,
    decision_hour: hour,
    locked_at: `${day}T${hour}:00:00-05:00`,
    action: "BUY_CALL",
    direction: "LONG",
    strength: "weak",
    active_target: "B",
    probability: 0.8,
    probability_a: 0.7,
    probability_b: 0.8,
    size: { percent_of_capital: 7.5, time_multiplier: 1.2, agreement_multiplier: 1.2 },
    prices: { at_decision: 100, session_open: 99, at_11: 99.5 },
    levels: null,
    model: { model_id: "m", in_sample: inSample },
    versions: { policy: "p", engine: "e" },
    outcome: right === null ? null : { right },
  } as RecordedSignal
}

const CELLS = [{ target: "B", decision_hour: 13, hit_rate: 0.7 } as Cell]

describe("the running hit rate", () => {
  const signals = [
    recorded("2025-01-03", 13, true),
    recorded("2025-01-06", 13, false),
    recorded("2025-01-07", 13, true, true),
    recorded("2025-01-08", 13, null),
  ]
  const gaps = [
    { day: "2025-01-02", decision_hours: [10] },
    { day: "2025-01-06", decision_hours: [10, 11] },
  ]
  const entries = entriesOf(signals, gaps, "2025-01-03", { modelId: "m", cells: CELLS })

  it("runs over the signals with an outcome, beside what was promised for them", () => {
    expect(latestOf(entries)).toMatchObject({ judged: 2, hitRate: 0.5, promised: 0.7 })
  })

  it("is without the days on which the model was trained", () => {
    expect(entries.at(-2)).toMatchObject({ isInSample: true, hitRate: null, promised: null })
    expect(countsOf(signals, true)).toMatchObject({ signals: 1, right: 1, wrong: 0 })
    expect(countsOf(signals, false)).toMatchObject({ signals: 3, right: 1, wrong: 1, withoutOutcome: 1 })
  })

  it("is broken by gaps, and begins where the record begins", () => {
    const lines = linesOf(entries)
    expect(lines.hitRate).toEqual([1, null, 0.5, undefined, 0.5])
    expect(entries[0]).toMatchObject({ kind: "gap", isBeforeRecord: true })
  })

  it("promises nothing for signals of another model", () => {
    expect(latestOf(entriesOf(signals, [], null, { modelId: "other", cells: CELLS }))?.promised).toBeNull()
  })
})

describe("the pages of the record", () => {
  const page = (next: string | null): RecordPage =>
    ({ next, signals: [recorded("2025-01-03", 13, true)], gaps: [] }) as unknown as RecordPage

  it("are asked for one after another", async () => {
    const pages = [page("/v2/signals/SPY?limit=100&cursor=abc"), page(null)]
    const fetchPage = vi.fn(() => Promise.resolve({ data: pages.shift() ?? page(null), failure: null }))
    const { data } = await pageReader(fetchPage, {})(new AbortController().signal)
    expect(data).toMatchObject({ isCut: false, signals: [{}, {}] })
    expect(fetchPage).toHaveBeenLastCalledWith({ limit: "100", cursor: "abc" }, expect.anything())
  })

  it("have a bound, which is said", async () => {
    const fetchPage = vi.fn(() => Promise.resolve({ data: page("/v2/signals/SPY?cursor=abc"), failure: null }))
    const { data } = await pageReader(fetchPage, {})(new AbortController().signal)
    expect(fetchPage).toHaveBeenCalledTimes(MOST_PAGES)
    expect(data?.isCut).toBe(true)
  })

  it("go on behind a failure with the page that failed", async () => {
    const failure = { status: 429, code: "", detail: "", retryAfterS: 1, requestId: null }
    const answers = [
      { data: page("/v2/signals/SPY?cursor=abc"), failure: null },
      { data: null, failure },
      { data: page(null), failure: null },
    ] as const
    let at = 0
    const read = pageReader(() => Promise.resolve(answers[at++] ?? answers[2]), {})
    expect((await read(new AbortController().signal)).failure).toBe(failure)
    expect((await read(new AbortController().signal)).data?.signals).toHaveLength(2)
  })

  it("end where no page follows", () => {
    expect(nextQuery(null)).toBeNull()
  })
})

describe("a signal beside its replay", () => {
  const signal = recorded("2025-01-03", 13, true)
  const replayed = { ...signal, session_date: signal.day } as unknown as Signal

  it("is equal", () => {
    expect(differences(signal, replayed)).toEqual([])
    expect(verdictOf(signal, replayed)).toMatch(/^Equal/)
  })

  it("differs, and the field is named", () => {
    const other = { ...replayed, probability: 0.81 } as Signal
    expect(verdictOf(signal, other)).toBe("Different: probability 0.8 became 0.81.")
  })
})

describe("the words of the record", () => {
  const signal = recorded("2025-01-03", 13, true)
  const entries = entriesOf([signal, recorded("2025-01-06", 13, false)], [], "2025-01-03", {
    modelId: "m",
    cells: CELLS,
  })

  it("put the promise beside the hit rate", () => {
    expect(standing(entries, "polygon")).toMatch(/right in 50.0% of 2 signals .* 70.0% were promised/)
  })

  it("promise nothing in a demo market, and claim nothing of in-sample days", () => {
    expect(standing(entries, "demo")).toContain("promises nothing")
    expect(standing(entriesOf([recorded("2025-01-03", 13, true, true)], [], null, null), "polygon")).toContain(
      "no hit rate",
    )
  })

  it("mark where the record begins", () => {
    expect(plottedOf(entries, "2025-01-03").marks).toEqual([{ x: -0.5, name: "The record begins" }])
    expect(plottedOf(entries, "2024-01-03").marks).toEqual([])
  })

  it("say how many trades gained and lost, of days on which the model was not trained alone", () => {
    const trade = (percent: number | null, isInSample = false): RecordedSignal =>
      ({ ...recorded("2025-01-03", 13, true, isInSample), outcome: { return_percent: percent } }) as RecordedSignal
    const trades = tradesOf([trade(0.5), trade(-0.2), trade(0.1), trade(0), trade(9, true), trade(null)])
    expect(tradesInWords(trades)).toBe(
      "Of 4 trades with an outcome 2 gained and 1 lost, 1 neither from the decision price to the close, +0.40% of the price together, without costs.",
    )
    expect(tradesInWords(tradesOf([recorded("2025-01-03", 13, null)]))).toBe("No trade has an outcome yet.")
  })

  it("say how a trade ended", () => {
    expect(exitOf(signal)).toBe("no trade")
    const traded = { ...signal, levels: {}, outcome: { exit: { kind: "take_profit", return_percent: 0.25 } } }
    expect(exitOf(traded as RecordedSignal)).toBe("take profit +0.25%")
    const open = { ...signal, levels: {}, outcome: { exit: { kind: "not_filled", return_percent: null } } }
    expect(exitOf(open as RecordedSignal)).toBe("not filled")
  })
})
