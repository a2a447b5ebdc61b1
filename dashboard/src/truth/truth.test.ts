import { describe, expect, it } from "vitest"
import type { Failure } from "../api/problem.ts"
import type { Status } from "../api/types.ts"
import { at, NOON, signalOf, stateOf } from "../live/fixtures.ts"
import { NOTHING } from "../live/state.ts"
import type { Connection, ConnectionState, Freshness, TickerState } from "../live/types.ts"
import { truthOf, worst, type Facts, type Truth } from "./truth.ts"

function connection(state: ConnectionState, changes: Partial<Connection> = {}): Connection {
  return { state, sinceMs: 0, retryAtMs: null, refusal: null, ...changes }
}

function failure(status: number, changes: Partial<Failure> = {}): Failure {
  return { status, code: "", detail: "The server says why.", retryAfterS: null, requestId: null, ...changes }
}

const STATUS: Status = {
  generated_at: NOON,
  market_open: true,
  next_open: null,
  source: "polygon",
  plan: "realtime",
  delay_seconds: 0,
  ready: true,
  reason: null,
  degraded: [],
  tickers: ["SPY"],
  versions: { policy: "", engine: "" },
  server: "",
}

function facts(changes: Partial<Facts> = {}): Facts {
  return {
    nowMs: 5_000,
    marketNow: Date.parse(NOON) + 7_000,
    connection: connection("open"),
    state: stateOf(),
    source: "polygon",
    status: STATUS,
    failure: null,
    polledMs: null,
    replay: null,
    replayAt: null,
    ...changes,
  }
}

const CLOSED: Partial<TickerState> = {
  freshness: "closed",
  status: {
    market_open: false,
    next_open: "2025-01-06T09:30:00-05:00",
    data_stale: false,
    provider_held_back: false,
    models: "",
  },
}
const NO_MODEL = signalOf({
  gates: [{ gate: "model", passed: false, code: "MODEL_UNAVAILABLE", reason: "No model for SPY." }],
})

type Row = readonly [string, Partial<Facts>, Partial<Truth>]
const TRUSTED: readonly Row[] = [
  ["live", {}, { word: "LIVE", tone: "live", ageS: 7, sentence: "Prices are of now. The newest bar ended 7 s ago." }],
  [
    "delayed by the plan",
    { state: stateOf({ freshness: "delayed" }), status: { ...STATUS, delay_seconds: 900 } },
    { word: "DELAYED", sentence: "Prices come 15 min 00 s late. The newest bar ended 7 s ago." },
  ],
  [
    "delayed bars of the hour",
    { state: stateOf({ freshness: "delayed" }) },
    { word: "DELAYED", sentence: "Some bars of this hour are not here yet. The newest bar ended 7 s ago." },
  ],
  [
    "closed",
    { state: stateOf(CLOSED) },
    { word: "CLOSED", tone: "closed", sentence: "The market is closed. It opens Mon 6 Jan, 09:30 New York." },
  ],
  ["demo", { source: "demo" }, { word: "DEMO", tone: "demo", across: "DEMO" }],
  ["a demo that is closed", { source: "demo", state: stateOf(CLOSED) }, { word: "CLOSED", across: "DEMO" }],
  ["recorded", { source: "recorded" }, { word: "RECORDED", across: "RECORDED" }],
  [
    "a past moment",
    { replay: { data: signalOf({ mode: "replay" }), failure: null } },
    {
      word: "REPLAY",
      across: "REPLAY",
      tone: "replay",
      sentence: "Fri 3 Jan 2025, 12:00 New York, as this page showed it then or would have.",
    },
  ],
  [
    "a past moment while there is no connection",
    { replay: { data: signalOf(), failure: null }, connection: connection("lost") },
    { word: "REPLAY" },
  ],
  [
    "no model",
    { state: stateOf({ signal: NO_MODEL }) },
    { word: "NO MODEL", sentence: "No model for SPY. Prices are of now." },
  ],
  [
    "refused, but asked for a moment ago",
    { connection: connection("refused"), polledMs: 1_000 },
    {
      word: "LIVE",
      sentence: "Prices are of now. The newest bar ended 7 s ago. There are no live events; the page asks every 15 s.",
    },
  ],
]

const HALF_AN_HOUR_LATER = Date.parse(NOON) + 1_800_000
const LEFT = " What is shown is of 12:00 New York, 5 s old in real time."
const DOUBTED: readonly Row[] = [
  [
    "where the server says live, and the newest bar is half an hour old",
    { marketNow: HALF_AN_HOUR_LATER },
    {
      word: "STALE",
      ageS: 1800,
      sentence: "The server says nothing of a bar that is overdue. The newest bar ended 30 min 00 s ago.",
    },
  ],
  [
    "before anything has come",
    { connection: connection("connecting"), state: NOTHING },
    { word: "CONNECTING", ageS: null, sentence: "The page connects to the server." },
  ],
  [
    "while the first signal is computed",
    { state: NOTHING },
    { word: "CONNECTING", sentence: "The server computes the first signal." },
  ],
  [
    "disconnected, with the age of what is left",
    { connection: connection("lost", { retryAtMs: 7_400 }) },
    {
      word: "DISCONNECTED",
      ageS: 5,
      sentence: `There is no connection to the server. The page tries again in 3 s.${LEFT}`,
    },
  ],
  [
    "after a goodbye",
    { connection: connection("lost", { retryAtMs: 6_000, refusal: { code: "restart", detail: "The server stops." } }) },
    { word: "DISCONNECTED", sentence: `The server stops. The page tries again in 1 s.${LEFT}` },
  ],
  [
    "refused",
    { connection: connection("refused", { refusal: { code: "INVALID_PAYLOAD", detail: "No." } }) },
    { word: "DISCONNECTED", sentence: `No.${LEFT}` },
  ],
  ["mute", { connection: connection("mute") }, { word: "SILENT" }],
  [
    "mute about one ticker",
    { nowMs: 31_500 },
    {
      word: "SILENT",
      sentence: "Nothing comes about this ticker any more. What is shown is of 12:00 New York, 31 s old in real time.",
    },
  ],
  [
    "catching up",
    { state: stateOf({ isCurrent: false }) },
    { word: "CATCHING UP", sentence: `The page asks for what it missed.${LEFT}` },
  ],
  [
    "a freshness that this page does not know",
    { state: stateOf({ freshness: "guessed" as Freshness }) },
    { word: "UNAVAILABLE", shape: "cross" },
  ],
  ["found afterwards", { state: stateOf({ freshness: "historical" }) }, { word: "CATCHING UP" }],
  [
    "what cannot be computed",
    { state: stateOf({ error: { code: "UNAVAILABLE", detail: "No bars.", ticker: "SPY", retry_after_ms: null } }) },
    { word: "UNAVAILABLE", sentence: `No bars.${LEFT}` },
  ],
  [
    "too many connections",
    {
      connection: connection("refused", {
        retryAtMs: 35_000,
        refusal: { code: "TOO_MANY_CONNECTIONS", detail: "20 of 20." },
      }),
    },
    { word: "LIMITED", sentence: `20 of 20. The page tries again in 30 s.${LEFT}` },
  ],
  ["429 while there is no connection", { connection: connection("lost"), failure: failure(429) }, { word: "LIMITED" }],
  [
    "429 of a past moment",
    { replay: { data: null, failure: failure(429, { retryAfterS: 12 }) } },
    { word: "LIMITED", across: "REPLAY", sentence: "The server says why. It may be asked again after 12 s." },
  ],
  [
    "a wrong key",
    { connection: connection("refused", { refusal: { code: "UNAUTHORIZED", detail: "" } }) },
    { word: "KEY NEEDED", shape: "lock" },
  ],
  ["a wrong key for requests", { connection: connection("lost"), failure: failure(401) }, { word: "KEY NEEDED" }],
  ["a wrong key for a past moment", { replay: { data: null, failure: failure(401) } }, { word: "KEY NEEDED" }],
  [
    "a past moment that has not come",
    { replay: { data: null, failure: failure(400) }, replayAt: Date.parse(NOON) + 3_600_000 },
    {
      word: "UNAVAILABLE",
      sentence:
        "This moment has not come yet: the market's clock shows Fri 3 Jan, 12:00 New York. A replay is of the past.",
    },
  ],
  ["a past moment on its way", { replay: "asked" }, { word: "LOADING", across: "REPLAY" }],
  ["a past moment without bars", { replay: { data: null, failure: failure(503) } }, { word: "UNAVAILABLE" }],
  ["a past moment of a server that is away", { replay: { data: null, failure: failure(0) } }, { word: "DISCONNECTED" }],
  [
    "no key for market data",
    { status: { ...STATUS, degraded: ["no_api_key"] }, state: stateOf(CLOSED) },
    {
      word: "NO DATA KEY",
      sentence: "The server has no key for market data, so there are no prices. It opens Mon 6 Jan, 09:30 New York.",
    },
  ],
  [
    "a key for market data that is refused",
    { status: { ...STATUS, degraded: ["api_key_refused"] } },
    { word: "NO DATA KEY" },
  ],
  [
    "asked for before the connection was lost",
    { connection: { ...connection("lost"), sinceMs: 2_000 }, polledMs: 1_000 },
    { word: "DISCONNECTED" },
  ],
  [
    "asked for too long ago",
    { nowMs: 25_000, connection: connection("refused"), polledMs: 1_000 },
    { word: "DISCONNECTED" },
  ],
]

describe("what may be claimed", () => {
  it.each(TRUSTED)("%s keeps its colour", (_, changes, expected) => {
    expect(truthOf(facts(changes))).toMatchObject({ isTrusted: true, ...expected })
  })

  it.each(DOUBTED)("%s is greyed", (_, changes, expected) => {
    expect(truthOf(facts(changes))).toMatchObject({ isTrusted: false, tone: "greyed", ...expected })
  })

  it("stale is not trusted, and says so in its own colour and shape", () => {
    expect(truthOf(facts({ state: stateOf({ freshness: "stale" }) }))).toMatchObject({
      word: "STALE",
      tone: "stale",
      shape: "triangle",
      isTrusted: false,
    })
  })

  it("stale says that calls to the provider are held back", () => {
    const status = { market_open: true, next_open: null, data_stale: true, provider_held_back: true, models: "" }
    expect(truthOf(facts({ state: stateOf({ freshness: "stale", status }) })).sentence).toContain("held back")
  })

  it("no word but LIVE, and neither a demo nor a recorded market, is ever shown as live", () => {
    for (const [, changes, { word }] of [...TRUSTED, ...DOUBTED])
      expect(truthOf(facts(changes)).tone === "live", word).toBe(word === "LIVE")
    for (const source of ["demo", "recorded"] as const) expect(truthOf(facts({ source })).word).not.toBe("LIVE")
  })

  it("the age of what is left from before is one of real time, others are of the market's clock, which may run faster", () => {
    expect(truthOf(facts({ connection: connection("lost") }))).toMatchObject({ ageS: 5, ageClock: "real" })
    expect(truthOf(facts())).toMatchObject({ ageS: 7, ageClock: "market" })
  })

  it("an age is that of the market, which may run faster than time", () => {
    const state = stateOf({ asOf: at("11:58:00") })
    expect(truthOf(facts({ state, source: "demo" })).ageS).toBe(127)
  })
})

describe("what may be claimed about the page", () => {
  const live = truthOf(facts())
  const stale = truthOf(facts({ state: stateOf({ freshness: "stale" }) }))

  it("is what may be claimed about each of its tickers", () => {
    expect(
      worst([
        { ticker: "SPY", truth: live },
        { ticker: "QQQ", truth: live },
      ]),
    ).toEqual(live)
  })

  it("has the age of the oldest bar where all have the same word", () => {
    const older = truthOf(facts({ state: stateOf({ asOf: at("11:59:00") }) }))
    const found = worst([
      { ticker: "SPY", truth: live },
      { ticker: "QQQ", truth: older },
      { ticker: "IWM", truth: live },
    ])
    expect(found.sentence).toBe("Prices are of now. The newest bar ended 1 min 07 s ago.")
  })

  it("is the least that may be claimed about one of them, by name", () => {
    const found = worst([
      { ticker: "SPY", truth: live },
      { ticker: "QQQ", truth: stale },
    ])
    expect(found).toMatchObject({ word: "STALE", isTrusted: false })
    expect(found.sentence).toMatch(/^QQQ: A bar is overdue/)
  })
})
