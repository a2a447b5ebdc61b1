// What may be claimed about what the page shows: one word for mode and freshness, its tone and shape, a sentence, and an age. Pure: all that
// it depends on comes in as `Facts`. Every panel that shows a value that floats asks it.

import type { Answer } from "../api/client.ts"
import type { Failure } from "../api/problem.ts"
import type { Status } from "../api/types.ts"
import { age, dayInWords, duration, isoDay, newYorkMoment, newYorkTime } from "../format/times.ts"
import type { Connection, Market, TickerState, TradingSignal } from "../live/types.ts"
import type { Ticker } from "../tickers.ts"
import { acrossOf, type Across } from "./across.ts"

/** From the word that claims least to the one that claims most. */
const WORDS = [
  "KEY NEEDED",
  "DISCONNECTED",
  "SILENT",
  "LIMITED",
  "UNAVAILABLE",
  "CONNECTING",
  "LOADING",
  "CATCHING UP",
  "NO DATA KEY",
  "STALE",
  "NO MODEL",
  "DELAYED",
  "CLOSED",
  "REPLAY",
  "DEMO",
  "RECORDED",
  "LIVE",
] as const
export type Word = (typeof WORDS)[number]

/** The colour of a word, by the names of tokens.css. `greyed` is that of whatever may not be taken for now. */
export type Tone = "live" | "delayed" | "stale" | "closed" | "demo" | "replay" | "greyed"
/** The shape beside a word, which says the same without colour. */
export type Shape = "disc" | "ring" | "half" | "square" | "cross" | "triangle" | "dots" | "rewind" | "lock"

export interface Truth {
  readonly word: Word
  readonly tone: Tone
  readonly shape: Shape
  /** Whole sentences for people. */
  readonly sentence: string
  /** How old what is shown is, in seconds; null if nothing is shown. Of what holds now: market seconds since the end of the newest bar. Of
   * what is left from before: real seconds since the server last said something about it. */
  readonly ageS: number | null
  /** The clock by which it is that old: the market's may run faster than time. */
  readonly ageClock: "market" | "real"
  /** Whether what is shown may have colour: it is of now, or of the past moment that was asked for. */
  readonly isTrusted: boolean
  /** What stands across the page, whatever the word is; null in the live market. */
  readonly across: Across["mark"] | null
}

/** What a truth is made of. Moments are those of `performance.now()`. */
export interface Facts {
  readonly nowMs: number
  /** Market time now, ms since the epoch. */
  readonly marketNow: number | null
  readonly connection: Connection
  readonly state: TickerState
  readonly source: Market | null
  readonly status: Status | null
  /** Why the newest request for all signals had no answer, and when the newest one had one, while there was no connection. */
  readonly failure: Failure | null
  readonly polledMs: number | null
  /** The answer about the past moment of the route; `asked` while it is on its way; null where the route is of now. */
  readonly replay: Answer<TradingSignal> | "asked" | null
  /** The past moment of the route, ms since the epoch; null where the route is of now. */
  readonly replayAt: number | null
}

type Claim = Omit<Truth, "across" | "ageClock">

/** What is said in a market that is not the real one, which is named across the page. */
const OF_THE_CLOCK = "Prices are of the time that the market's clock shows."
/** For how long an answer holds where the page asks in place of events: a little longer than until the next one. */
const POLLED_MS = 20_000
/** Older prices are never called those of now: minutes more than a server takes to call them stale. */
const LIVE_WITHIN_S = 600
/** How much later than announced a heartbeat may come before its ticker counts as silent. */
const GRACE_MS = 1_000

/** What may be claimed about a ticker. */
export function truthOf(facts: Facts): Truth {
  const across = acrossOf(facts.source, facts.replay !== null)?.mark ?? null
  if (facts.replay !== null) return { ageClock: "market", ...claimOfReplay(facts.replay, facts), across }
  const doubt = doubtOf(facts)
  const ageClock = doubt === null ? "market" : "real"
  return { ...(doubt ?? lackOf(facts) ?? claimOfFreshness(facts)), ageClock, across }
}

function claimOfReplay(replay: Answer<TradingSignal> | "asked", { replayAt, marketNow }: Facts): Claim {
  if (replayAt !== null && marketNow !== null && replayAt > marketNow)
    return greyed("UNAVAILABLE", "cross", aheadText(marketNow), null)
  if (replay === "asked") return greyed("LOADING", "dots", "This past moment is asked for.", null)
  if (replay.failure !== null) return claimOfFailure(replay.failure)
  const { generated_at, age_seconds } = replay.data
  const moment = `${dayInWords(isoDay(generated_at))}, ${newYorkTime(generated_at)} New York`
  const sentence = `${moment}, as this page showed it then or would have.`
  return { word: "REPLAY", tone: "replay", shape: "rewind", sentence, ageS: age_seconds, isTrusted: true }
}

function aheadText(marketNow: number): string {
  return `This moment has not come yet: the market's clock shows ${newYorkMoment(marketNow)} New York. A replay is of the past.`
}

function claimOfFailure(failure: Failure): Claim {
  const again = failure.retryAfterS === null ? "" : ` It may be asked again after ${duration(failure.retryAfterS)}.`
  const sentence = `${failure.detail}${again}`
  if (failure.status === 401) return greyed("KEY NEEDED", "lock", sentence, null)
  if (failure.status === 429) return greyed("LIMITED", "cross", sentence, null)
  return greyed(failure.status === 0 ? "DISCONNECTED" : "UNAVAILABLE", "cross", sentence, null)
}

/** Why what is shown may not be taken for now; null where it may. */
function doubtOf(facts: Facts): Claim | null {
  const { state } = facts
  const doubt = (isPolled(facts) ? null : doubtOfConnection(facts)) ?? doubtOfTicker(facts)
  if (doubt === null) return null
  const [word, shape, sentence] = doubt
  return greyed(word, shape, `${sentence}${leftText(facts)}`, state.signal === null ? null : leftAgeS(facts))
}

type Doubt = readonly [Word, Shape, string]

function doubtOfConnection(facts: Facts): Doubt | null {
  const { connection, failure } = facts
  const { state, refusal } = connection
  if (state === "open") return null
  if (refusal?.code === "UNAUTHORIZED" || failure?.status === 401)
    return ["KEY NEEDED", "lock", "The server does not know the API key of this page."]
  if (failure?.status === 429) return ["LIMITED", "cross", `${failure.detail}${retryText(facts)}`]
  if (refusal?.code.startsWith("TOO_MANY") === true) return ["LIMITED", "cross", `${refusal.detail}${retryText(facts)}`]
  switch (state) {
    case "connecting":
      return ["CONNECTING", "dots", "The page connects to the server."]
    case "mute":
      return ["SILENT", "cross", `Nothing comes from the server any more.${retryText(facts)}`]
    case "lost":
      return [
        "DISCONNECTED",
        "cross",
        `${refusal?.detail ?? "There is no connection to the server."}${retryText(facts)}`,
      ]
    case "refused":
      return ["DISCONNECTED", "cross", `${refusal?.detail ?? "The server refuses the connection."}${retryText(facts)}`]
  }
}

function doubtOfTicker({ state, nowMs }: Facts): Doubt | null {
  if (state.error !== null) return ["UNAVAILABLE", "cross", state.error.detail]
  if (state.signal === null) return ["CONNECTING", "dots", "The server computes the first signal."]
  if (state.receivedMs !== null && nowMs - state.receivedMs > state.quietMs + GRACE_MS)
    return ["SILENT", "cross", "Nothing comes about this ticker any more."]
  return state.isCurrent ? null : ["CATCHING UP", "dots", "The page asks for what it missed."]
}

/** Whether an answer stands in for events: one that came a moment ago, and after the connection was lost. */
function isPolled({ polledMs, nowMs, connection }: Facts): boolean {
  const { state, sinceMs } = connection
  return state !== "open" && polledMs !== null && polledMs > sinceMs && nowMs - polledMs < POLLED_MS
}

/** What the server lacks, so that there is no signal; null where it lacks nothing. */
function lackOf(facts: Facts): Claim | null {
  const { status, source, state } = facts
  const degraded = source === "polygon" ? (status?.degraded ?? []) : []
  if (degraded.includes("no_api_key"))
    return greyed(
      "NO DATA KEY",
      "lock",
      `The server has no key for market data, so there are no prices.${openText(facts)}`,
      null,
    )
  if (degraded.includes("api_key_refused"))
    return greyed(
      "NO DATA KEY",
      "lock",
      `The provider refuses the server's key for market data.${openText(facts)}`,
      null,
    )
  const gate = state.signal?.gates.find(({ gate, passed }) => gate === "model" && passed === false)
  if (gate === undefined || state.freshness === "closed" || state.freshness === "stale") return null
  const sentence = `${gate.reason ?? "There is no model of this ticker."} Prices are of now.`
  return { word: "NO MODEL", tone: "stale", shape: "triangle", sentence, ageS: marketAgeS(facts), isTrusted: true }
}

function claimOfFreshness(facts: Facts): Claim {
  const ageS = marketAgeS(facts)
  const rest = `${ageS === null ? "" : ` The newest bar ended ${duration(ageS)} ago.`}${polledText(facts)}`
  switch (facts.state.freshness) {
    case "live":
      return isTooOldForNow(facts.source, ageS)
        ? greyed("STALE", "triangle", `The server says nothing of a bar that is overdue.${rest}`, ageS)
        : current(facts.source, rest, ageS)
    case "delayed":
      return {
        word: "DELAYED",
        tone: "delayed",
        shape: "half",
        sentence: `${delayText(facts)}${rest}`,
        ageS,
        isTrusted: true,
      }
    case "closed":
      return { word: "CLOSED", tone: "closed", shape: "square", sentence: closedText(facts), ageS, isTrusted: true }
    case "stale":
      return {
        word: "STALE",
        tone: "stale",
        shape: "triangle",
        sentence: `${staleText(facts)}${rest}`,
        ageS,
        isTrusted: false,
      }
    case "historical":
    case null:
      return greyed("CATCHING UP", "dots", `What is shown was found afterwards.${rest}`, ageS)
    default:
      return greyed("UNAVAILABLE", "cross", `This page does not know what the server says of its prices.${rest}`, ageS)
  }
}

/** Whether prices cannot be of now, whatever the server says of them. The clocks of other markets may leap. */
function isTooOldForNow(source: Market | null, ageS: number | null): boolean {
  return source === "polygon" && ageS !== null && ageS > LIVE_WITHIN_S
}

function current(source: Market | null, rest: string, ageS: number | null): Claim {
  const claim = { ageS, isTrusted: true } as const
  if (source === "demo")
    return { word: "DEMO", tone: "demo", shape: "ring", sentence: `${OF_THE_CLOCK}${rest}`, ...claim }
  if (source === "recorded")
    return {
      word: "RECORDED",
      tone: "replay",
      shape: "ring",
      sentence: `${OF_THE_CLOCK}${rest}`,
      ...claim,
    }
  return { word: "LIVE", tone: "live", shape: "disc", sentence: `Prices are of now.${rest}`, ...claim }
}

function delayText({ status }: Facts): string {
  const delayS = status?.delay_seconds ?? 0
  return delayS > 0 ? `Prices come ${duration(delayS)} late.` : "Some bars of this hour are not here yet."
}

function staleText({ state }: Facts): string {
  const heldBack = state.status?.provider_held_back === true
  return heldBack ? "A bar is overdue, and calls to the provider are held back." : "A bar is overdue."
}

function closedText(facts: Facts): string {
  return `The market is closed.${openText(facts)}${polledText(facts)}`
}

function openText({ state }: Facts): string {
  const next = state.status?.next_open ?? null
  return next === null ? "" : ` It opens ${newYorkMoment(next)} New York.`
}

function polledText(facts: Facts): string {
  return isPolled(facts) ? " There are no live events; the page asks every 15 s." : ""
}

function greyed(word: Word, shape: Shape, sentence: string, ageS: number | null): Claim {
  return { word, tone: "greyed", shape, sentence, ageS, isTrusted: false }
}

/** Market seconds since the end of the newest bar. */
function marketAgeS({ state, marketNow }: Facts): number | null {
  if (state.asOf === null || marketNow === null) return null
  return Math.max(0, Math.floor((marketNow - Date.parse(state.asOf)) / 1000))
}

/** Real seconds since something last came about the ticker. */
function leftAgeS({ state, nowMs }: Facts): number | null {
  return state.receivedMs === null ? null : Math.max(0, Math.floor((nowMs - state.receivedMs) / 1000))
}

function leftText(facts: Facts): string {
  const { signal, generatedAt } = facts.state
  if (signal === null || generatedAt === null) return ""
  return ` What is shown is of ${newYorkTime(generatedAt)} New York, ${age(leftAgeS(facts))} in real time.`
}

function retryText({ connection, nowMs }: Facts): string {
  if (connection.retryAtMs === null) return connection.state === "refused" ? "" : " The page tries again now."
  return ` The page tries again in ${duration(Math.max(0, Math.ceil((connection.retryAtMs - nowMs) / 1000)))}.`
}

export interface TickerTruth {
  readonly ticker: Ticker
  readonly truth: Truth
}

/** Of the truths of several tickers the one that claims least, and of those with the same word the oldest. Its sentence names the ticker where the others have another word. */
export function worst(truths: readonly TickerTruth[]): Truth {
  const [first, ...rest] = truths
  if (first === undefined) throw new RangeError("there is no truth about nothing")
  const least = rest.reduce((one, other) => (isLess(other.truth, one.truth) ? other : one), first)
  const isOfAll = truths.every(({ truth }) => truth.word === least.truth.word)
  return isOfAll ? least.truth : { ...least.truth, sentence: `${least.ticker}: ${least.truth.sentence}` }
}

function isLess(one: Truth, other: Truth): boolean {
  if (one.word !== other.word) return rank(one) < rank(other)
  return (one.ageS ?? -1) > (other.ageS ?? -1)
}

function rank({ word }: Truth): number {
  return WORDS.indexOf(word)
}
