import { describe, expect, it } from "vitest"
import type { GateResult } from "../../api/types.ts"
import type { TradingSignal } from "../../live/types.ts"
import { belief, compared, inSample, notOfTrade, rangeInWords, worth } from "./belief.ts"
import { asCurl } from "./copying.ts"
import { gateLine, whyNot } from "./gate.ts"
import { entryWarning, levelsOf, sizeInWords } from "./levels.ts"
import { beforeSentence, isExpired, leftInWords, lockSentence } from "./lock.ts"

const HIT_RATE = {
  target: "B",
  decision_hour: 14,
  hit_rate: 0.769437,
  baseline_hit_rate: 0.781501,
  always_up_hit_rate: 0.553619,
  days: 746,
  span: "2022-01-01..2024-12-31",
  verdict: "no measurable difference",
} as const
const SIGNAL = {
  ticker: "SPY",
  decision_hour: 14,
  source: "polygon",
  action: "BUY_CALL",
  active_target: "B",
  probability: 0.812,
  hit_rates: [{ ...HIT_RATE, target: "A", hit_rate: 0.8 }, HIT_RATE],
  size: { percent_of_capital: 15, time_multiplier: 1.2, agreement_multiplier: 1.2 },
  prices: { at_decision: 400, now: 401, session_open: 398, at_11: 399, change_percent: 0.75 },
  levels: {
    entry_type: "LIMIT",
    entry_price: 399,
    take_profit: 401,
    stop_loss: 398.68,
    time_stop: "2025-01-03T15:50:00-05:00",
    entry_beyond_stop: false,
  },
  lock: {
    state: "locked",
    locked_at: "2025-01-03T14:00:00-05:00",
    expires_at: "2025-01-03T15:00:00-05:00",
    recorded: true,
    inputs_sha256: null,
    bars_agree: null,
  },
  gates: [],
  reason: "Call.",
  model: { model_id: "m", in_sample: false },
} as unknown as TradingSignal
const NOW = Date.parse("2025-01-03T14:36:48-05:00")

function but(changes: object): TradingSignal {
  return { ...SIGNAL, ...changes }
}

describe("the lock", () => {
  it("says when the decision was made, on what, and until when it holds", () => {
    expect(lockSentence(SIGNAL, "2025-01-03T14:00:05-05:00", NOW)).toBe(
      "Decided 14:00:05 on bars up to 14:00, locked until 15:00.",
    )
    expect(lockSentence(SIGNAL, null, NOW)).toBe("Decided for 14:00 on bars up to 14:00, locked until 15:00.")
    for (const isOfNow of [true, false])
      expect(leftInWords(SIGNAL, NOW, isOfNow)).toBe("23 min 12 s left in this hour's lock")
  })

  it("of a past moment is told as past: nothing of it is left", () => {
    expect(leftInWords(SIGNAL, NOW, true, true)).toBe("23 min 12 s were left in this hour's lock")
    const before = but({ decision_hour: 13, lock: { ...SIGNAL.lock, state: "previous" } })
    expect(leftInWords(before, NOW, true, true)).toBe("The next decision was due")
  })

  it("of another past moment than the one that is asked for says so", () => {
    const signal = but({ generated_at: "2025-01-03T14:35:00-05:00" })
    expect(beforeSentence(signal, { date: "2025-01-03", time: "14:36" })).toBe(
      "Still the values of Fri 3 Jan, 14:35: those of 14:36 have not come yet.",
    )
    expect(beforeSentence(signal, { date: "2025-01-06", time: "10:00" })).toMatch(
      /of Mon 6 Jan 2025, 10:00 have not come/,
    )
  })

  it("says that the decision of the hour before stands for a while", () => {
    const before = but({ decision_hour: 13, lock: { ...SIGNAL.lock, state: "previous" } })
    expect(lockSentence(before, null, NOW)).toBe("13:00's stands, 14:00's is being decided.")
    expect(leftInWords(before, NOW, true)).toBe("The next decision is due")
    expect(leftInWords(before, NOW, false)).toBe("The next decision was due")
  })

  it("never lets an old decision look locked", () => {
    const later = Date.parse("2025-01-03T15:00:00-05:00")
    expect(isExpired(SIGNAL, later)).toBe(true)
    expect(lockSentence(SIGNAL, null, later)).toMatch(/expired at 15:00/)
    expect(leftInWords(SIGNAL, null, true)).toBe("Time left is not known")
  })

  it("says that a decision is not of the record", () => {
    expect(lockSentence(but({ lock: { ...SIGNAL.lock, recorded: false } }), null, NOW)).toMatch(/^Computed for 14:00/)
  })

  it("says that there is none", () => {
    const none = but({
      decision_hour: null,
      lock: { state: "none", locked_at: null, expires_at: null, recorded: null, inputs_sha256: null, bars_agree: null },
    })
    expect(lockSentence(none, null, NOW)).toBe("There is no decision of this hour.")
    expect(leftInWords(none, NOW, true)).toBe("")
  })
})

describe("a probability", () => {
  it("says of what it is, with the price that it is about, and that it is no chance of a trade from here", () => {
    expect(belief(SIGNAL)).toBe("81.2%: the model's probability that the day closes above its 11:00 price, $399.00")
    expect(belief(but({ active_target: "A" }))).toMatch(/that the day closes above its open, \$398\.00$/)
    expect(belief(but({ prices: { ...SIGNAL.prices, at_11: null } }))).toMatch(/above its 11:00 price$/)
    expect(notOfTrade(SIGNAL)).toBe(
      "It is about the day's close, not about a trade from here, $400.00 at the decision.",
    )
  })

  it("stands beside the hit rate with its verdict, and the simple rules on the same days", () => {
    expect(worth(SIGNAL)).toBe("Right on 76.9% of days at this hour: no measurable difference")
    expect(compared(SIGNAL)).toBe(
      'Out of sample at 14:00 on 746 days of 2022 to 2024, from the 11:00 price to the close: the random walk was right on 78.2%, "always up" 55.4%.',
    )
  })

  it("has a random walk that has no side yet", () => {
    const rates = [{ ...HIT_RATE, baseline_hit_rate: null }]
    expect(compared(but({ hit_rates: rates }))).toMatch(/the random walk has no side yet/)
  })

  it.each([
    [but({ hit_rates: [], source: "demo" }), /No hit rate: the evaluation is about real days/],
    [but({ hit_rates: [] }), /a model that is not the loaded one/],
  ])("says why it has no hit rate", (signal, said) => {
    expect(worth(signal)).toMatch(said)
    expect(compared(signal)).toBe("")
  })

  it("is nothing where there is none", () => {
    expect(belief(but({ probability: null }))).toBeNull()
    expect(notOfTrade(but({ probability: null }))).toBe("")
    expect(worth(but({ hit_rates: [], decision_hour: null }))).toBe("")
  })

  it("of a day on which the model was trained says so", () => {
    expect(inSample(SIGNAL)).toBeNull()
    expect(inSample(but({ model: { in_sample: true } }))).toMatch(/^In-sample/)
  })
})

describe("the forecast range", () => {
  const RANGE = { level: 0.8, low: 397.5, high: 403.25, coverage: 0.602, days: 2256, span: "2022-01-01..2024-12-31" }
  const HALF = { ...RANGE, level: 0.5, low: 399, high: 401, coverage: 0.1 }

  it("stands with how often such ranges held out of sample", () => {
    expect(rangeInWords([HALF, RANGE])).toBe(
      "Forecast until the close: between $397.50 and $403.25; such ranges held on 60 of 100 days, out of sample (2,256 days, all tickers added up).",
    )
  })

  it("says that it is not known where it was not measured", () => {
    const unknown = { ...RANGE, coverage: null, days: null, span: null }
    expect(rangeInWords([unknown])).toBe(
      "Forecast until the close: between $397.50 and $403.25. How often such ranges held is not known here.",
    )
  })

  it.each([[[]], [undefined]])("is not invented where there is none: %s", (ranges) => {
    expect(rangeInWords(ranges)).toBe("")
  })
})

describe("levels", () => {
  it("stand with their distance from the price now", () => {
    expect(levelsOf(SIGNAL, true)).toEqual([
      { name: "Entry (LIMIT)", price: "$399.00", distance: "−$2.00 (−0.50%)", isPassed: false },
      { name: "Stop", price: "$398.68", distance: "−$2.32 (−0.58%)", isPassed: false },
      { name: "Target", price: "$401.00", distance: "$0.00 (0.00%)", isPassed: true },
    ])
  })

  it("stand with their distance from the decision where the price cannot be trusted", () => {
    expect(levelsOf(SIGNAL, false)[1]).toMatchObject({ distance: "−$1.32 (−0.33%)", isPassed: false })
    expect(levelsOf(but({ prices: { ...SIGNAL.prices, now: null } }), true)[2]).toMatchObject({ isPassed: false })
  })

  it("of a put are passed the other way round", () => {
    const put = but({
      action: "BUY_PUT",
      levels: { ...SIGNAL.levels, take_profit: 400, stop_loss: 401 },
    })
    expect(levelsOf(put, true).map(({ isPassed }) => isPassed)).toEqual([false, true, false])
  })

  it("warn of an entry beyond the stop", () => {
    expect(entryWarning(SIGNAL)).toBeNull()
    expect(entryWarning(but({ levels: { ...SIGNAL.levels, entry_beyond_stop: true } }))).toMatch(/beyond the stop/)
  })

  it("are none without a trade, and the size says so", () => {
    expect(levelsOf(but({ levels: null, action: "NO_TRADE" }), true)).toEqual([])
    expect(sizeInWords(but({ action: "NO_TRADE" }))).toBe("No capital: there is no trade.")
    expect(sizeInWords(SIGNAL)).toBe("15.0% of capital (hour × 1.2, agreement × 1.2)")
  })
})

describe("no trade", () => {
  const gates: GateResult[] = [
    { gate: "market_open", passed: true, code: null, reason: null },
    { gate: "market_data", passed: false, code: "NO_MARKET_DATA", reason: "DEMO: Bars are missing." },
    { gate: "model", passed: null, code: null, reason: null },
  ]

  it("says the first condition that failed", () => {
    expect(whyNot(but({ action: "NO_TRADE", gates }))).toBe("Bars are missing.")
    expect(whyNot(SIGNAL)).toBeNull()
    expect(gates.map(gateLine)).toEqual([
      "Market open: passed",
      "Market data: what is there does not suffice for a decision",
      "Model: not checked",
    ])
  })
})

describe("a probability that is not clear enough", () => {
  it("is said as such, not as something that failed", () => {
    const gate: GateResult = { gate: "probability", passed: false, code: "NEUTRAL_ZONE", reason: "Neutral." }
    expect(gateLine(gate)).toBe("Probability: too near one half for a trade")
  })
})

describe("a copy", () => {
  it("as curl has no key in it", () => {
    expect(asCurl("http://host", "SPY", null, true)).toBe(
      'curl -H "X-API-Key: $PREDICT_API_KEY" "http://host/v2/trading-directions/SPY"',
    )
    expect(asCurl("http://host", "SPY", { date: "2025-07-03", time: "14:35" }, false)).toBe(
      'curl "http://host/v2/replay/SPY?at=2025-07-03T14:35:00-04:00"',
    )
  })
})
