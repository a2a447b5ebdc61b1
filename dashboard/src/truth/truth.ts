// What may be claimed about what the page shows: one word for mode and freshness, its tone and shape, a sentence, and an age. Pure: all that
// it depends on comes in as `Facts`. Every panel that shows a value that floats asks it.

import type { Answer } from "../api/client.ts"
import type { Failure } from "../api/problem.ts"
import type { Status } from "../api/types.ts"
import { age, dayInWords, duration, isoDay, newYorkMoment, newYorkTime } from "../format/times.ts"
import type { Connection, Freshness, Market, TickerState, TradingSignal } from "../live/types.ts"

export type Word =
  | "LIVE"
  | "DELAYED"
  | "STALE"
  | "CLOSED"
  | "DEMO"
  | "RECORDED"
  | "REPLAY"
  | "DISCONNECTED"
  | "SILENT"
  | "CATCHING UP"
  | "CONNECTING"
  | "LOADING"
  | "UNAVAILABLE"
  | "LIMITED"
  | "KEY NEEDED"
  | "NO DATA KEY"
  | "NO MODEL"

/** The colour of a word, by the names of tokens.css. `greyed` is that of whatever may not be taken for now. */
export type Tone = "live" | "delayed" | "stale" | "closed" | "demo" | "replay" | "greyed"
/** The shape beside a word, which says the same without colour. */
export type Shape = "disc" | "ring" | "half" | "square" | "cross" | "triangle" | "dots" | "rewind" | "lock"

export interface Truth {
  readonly word: Word
  readonly tone: Tone
  readonly shape: Shape
  /** A whole sentence for people. */
  readonly sentence: string
  /** How old what is shown is, in seconds: market seconds of what holds now, real seconds of what is left from before; null if nothing is
   * shown. */
  readonly ageS: number | null
  /** Whether what is shown may have colour: it is of now, or of the past moment that was asked for. */
  readonly isTrusted: boolean
  /** What stands across the page, whatever the word is; null in the live market. */
  readonly across: "DEMO" | "RECORDED" | "REPLAY" | null
}

/** What a truth is made of. Moments are those of `performance.now()`. */
export interface Facts {
  readonly nowMs: number
  readonly marketNow: number | null
  readonly connection: Connection
  readonly state: TickerState
  readonly source: Market | null
  readonly status: Status | null
  readonly failure: Failure | null
  readonly polledMs: number | null
  /** The answer about the past moment of the route; `asked` while it is on its way; null where the route is of now. */
  readonly replay: Answer<TradingSignal> | "asked" | null
}

type Claim = Omit<Truth, "across">

/** What may be claimed about a ticker. */
export function truthOf(facts: Facts): Truth {
  const claim = facts.replay === null ? claimOfNow(facts) : claimOfReplay(facts.replay)
  return { ...claim, across: facts.replay === null ? acrossOf(facts.source) : "REPLAY" }
}

function acrossOf(source: Market | null): Truth["across"] {
  if (source === "demo") return "DEMO"
  return source === "recorded" ? "RECORDED" : null
}

function claimOfReplay(replay: Answer<TradingSignal> | "asked"): Claim {
  if (replay === "asked") return greyed("LOADING", "dots", "The server computes this past moment.", null)
  if (replay.failure !== null) return claimOfFailure(replay.failure, null)
  const { generated_at, age_seconds } = replay.data
  const sentence = `A past moment: ${dayInWords(isoDay(generated_at))}, ${newYorkTime(generated_at)} New York, as the page showed it then or would have.`
  return { word: "REPLAY", tone: "replay", shape: "rewind", sentence, ageS: age_seconds, isTrusted: true }
}

function claimOfNow(facts: Facts): Claim {
  return doubtOf(facts) ?? claimOfFreshness(facts)
}

/** Why what is shown may not be taken for now; null where it may. */
function doubtOf(facts: Facts): Claim | null {
  const { connection, state, failure, nowMs } = facts
  const left = leftText(facts)
  const ageS = leftAgeS(facts)
  if (connection.refusal?.code === "UNAUTHORIZED" || failure?.status === 401)
    return greyed("KEY NEEDED", "lock", `The server asks for an API key.${left}`, ageS)
  if (connection.state === "connecting")
    return greyed("CONNECTING", "dots", `The page connects to the server.${left}`, ageS)
  if (connection.state === "lost")
    return greyed("DISCONNECTED", "cross", `The connection is lost.${retryText(facts)}${left}`, ageS)
  if (connection.state === "mute" || isSilent(state, nowMs))
    return greyed("SILENT", "cross", `The server says nothing any more.${left}`, ageS)
  if (connection.state === "refused")
    return greyed(
      "DISCONNECTED",
      "cross",
      `${connection.refusal?.detail ?? "The server refuses the connection."}${left}`,
      ageS,
    )
  if (state.error !== null) return greyed("UNAVAILABLE", "cross", `${state.error.detail}${left}`, ageS)
  if (state.signal === null) return greyed("CONNECTING", "dots", "The server computes the first state.", null)
  if (!state.isCurrent) return greyed("CATCHING UP", "dots", `The page asks for what it missed.${left}`, ageS)
  return null
}

function claimOfFailure(failure: Failure, ageS: number | null): Claim {
  const word: Word = failure.status === 429 ? "LIMITED" : failure.status === 401 ? "KEY NEEDED" : "UNAVAILABLE"
  const again = failure.retryAfterS === null ? "" : ` The page asks again in ${duration(failure.retryAfterS)}.`
  return greyed(word, failure.status === 401 ? "lock" : "cross", `${failure.detail}${again}`, ageS)
}

function isSilent(state: TickerState, nowMs: number): boolean {
  return state.receivedMs !== null && nowMs - state.receivedMs > state.quietMs + GRACE_MS
}

const GRACE_MS = 1_000

function claimOfFreshness(facts: Facts): Claim {
  const ageS = marketAgeS(facts)
  const age = ageS === null ? "" : ` The newest bar ended ${duration(ageS)} ago.`
  switch (facts.state.freshness) {
    case "live":
      return current(facts, age, ageS)
    case "delayed":
      return {
        word: "DELAYED",
        tone: "delayed",
        shape: "half",
        sentence: `Prices come late.${age}`,
        ageS,
        isTrusted: true,
      }
    case "closed":
      return { word: "CLOSED", tone: "closed", shape: "square", sentence: closedText(facts), ageS, isTrusted: true }
    case "stale":
    case "historical":
    case null:
      return {
        word: "STALE",
        tone: "stale",
        shape: "triangle",
        sentence: `A bar is overdue.${age}`,
        ageS,
        isTrusted: false,
      }
  }
}

function current({ source }: Facts, age: string, ageS: number | null): Claim {
  const rest = { ageS, isTrusted: true } as const
  if (source === "demo")
    return { word: "DEMO", tone: "demo", shape: "ring", sentence: `An invented market, current.${age}`, ...rest }
  if (source === "recorded")
    return {
      word: "RECORDED",
      tone: "replay",
      shape: "ring",
      sentence: `Recorded prices of a past day, played again.${age}`,
      ...rest,
    }
  return { word: "LIVE", tone: "live", shape: "disc", sentence: `Prices are current.${age}`, ...rest }
}

function closedText({ state }: Facts): string {
  const next = state.status?.next_open ?? null
  return next === null ? "The market is closed." : `The market is closed. It opens ${newYorkMoment(next)} New York.`
}

function greyed(word: Word, shape: Shape, sentence: string, ageS: number | null): Claim {
  return { word, tone: "greyed", shape, sentence, ageS, isTrusted: false }
}

/** Market seconds since the end of the newest bar. */
function marketAgeS({ state, marketNow }: Facts): number | null {
  if (state.asOf === null || marketNow === null) return null
  return Math.max(0, Math.round((marketNow - Date.parse(state.asOf)) / 1000))
}

/** Real seconds since something last came about the ticker. */
function leftAgeS({ state, nowMs }: Facts): number | null {
  return state.receivedMs === null || state.signal === null
    ? null
    : Math.max(0, Math.round((nowMs - state.receivedMs) / 1000))
}

function leftText(facts: Facts): string {
  const ageS = leftAgeS(facts)
  const { generatedAt } = facts.state
  if (ageS === null || generatedAt === null) return ""
  return ` What is shown is of ${newYorkTime(generatedAt)} New York, ${age(ageS)}.`
}

function retryText({ connection, nowMs }: Facts): string {
  if (connection.retryAtMs === null) return " The page tries again now."
  return ` The page tries again in ${duration(Math.max(0, Math.ceil((connection.retryAtMs - nowMs) / 1000)))}.`
}

/** From the least to the most that may be trusted. */
const ORDER: readonly Word[] = [
  "KEY NEEDED",
  "DISCONNECTED",
  "SILENT",
  "LIMITED",
  "UNAVAILABLE",
  "CONNECTING",
  "LOADING",
  "CATCHING UP",
  "NO DATA KEY",
  "NO MODEL",
  "STALE",
  "DELAYED",
  "CLOSED",
  "REPLAY",
  "DEMO",
  "RECORDED",
  "LIVE",
]

/** Of several truths the one that may be trusted least. */
export function worst(truths: readonly Truth[]): Truth {
  const [first, ...rest] = truths
  if (first === undefined) throw new RangeError("there is no truth about nothing")
  return rest.reduce((one, other) => (ORDER.indexOf(other.word) < ORDER.indexOf(one.word) ? other : one), first)
}

export type { Freshness }
