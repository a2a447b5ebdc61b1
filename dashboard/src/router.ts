// The address of the page: /dashboard/SPY?date=2026-01-05&time=14:00, /dashboard/SPY/record, /dashboard/SPY/model,
// /dashboard/system. Pure; router.svelte.ts joins it to the browser.

import { isTicker, TICKERS, type Ticker } from "./tickers.ts"

/** A moment of a past day, New York. */
export interface Moment {
  readonly date: string
  readonly time: string
}

export type View = "today" | "replay" | "record" | "model" | "system" | "unknown"

/** What the page shows: a view of a ticker, and the past moment if there is one (then the view is `replay`). */
export interface Route {
  readonly view: View
  readonly ticker: Ticker
  readonly at: Moment | null
}

const DAY = /^\d{4}-\d{2}-\d{2}$/
const TIME = /^([01]\d|2[0-3]):[0-5]\d$/
const [FIRST] = TICKERS
const LAST_TIME = "16:00"
export const PREFIX = "/dashboard"

/** The route of an address. Whatever cannot be understood is `unknown`. */
export function parsed(path: string, query: string): Route {
  const parts = path
    .replace(/^\/dashboard(?=\/|$)/, "")
    .split("/")
    .filter(Boolean)
  const [given, tail, more] = parts
  const head = given === undefined || isTicker(given) ? given : tickerLike(given)
  if (more !== undefined) return unknown()
  if (head === undefined) return atMoment(FIRST, query)
  if (head === "system" && tail === undefined) return { view: "system", ticker: FIRST, at: null }
  if (!isTicker(head)) return unknown()
  if (tail === undefined) return atMoment(head, query)
  return tail === "record" || tail === "model" ? { view: tail, ticker: head, at: null } : unknown()
}

function atMoment(ticker: Ticker, query: string): Route {
  const given = new URLSearchParams(query)
  const date = given.get("date")
  if (date === null) return { view: "today", ticker, at: null }
  const time = given.get("time") ?? LAST_TIME
  return isDay(date) && TIME.test(time) ? { view: "replay", ticker, at: { date, time } } : unknown()
}

/** A ticker in whatever letters; other words stay as they are. */
function tickerLike(word: string): string {
  const capitals = word.toUpperCase()
  return isTicker(capitals) ? capitals : word
}

/** Why there is nothing at an address, in a sentence. */
export function unknownSentence(path: string): string {
  const [head, tail] = path.split("/").slice(2)
  const name = head?.toUpperCase() ?? ""
  if (tail === undefined && /^[A-Z][A-Z.]{0,5}$/.test(name) && !isTicker(name))
    return `This server has no signals of ${name}. It has those of ${TICKERS.slice(0, -1).join(", ")} and ${TICKERS.at(-1)}.`
  return "A view, a day or a time in the address is not known."
}

/** Whether the calendar has the day: 2025-02-31 is none. */
function isDay(date: string): boolean {
  const midnight = DAY.test(date) ? Date.parse(`${date}T00:00:00Z`) : NaN
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(date)
}

function unknown(): Route {
  return { view: "unknown", ticker: FIRST, at: null }
}

/** The address of a route, for links. */
export function addressOf(route: Route): string {
  if (route.view === "system") return `${PREFIX}/system`
  const base = `${PREFIX}/${route.ticker}`
  if (route.view === "record" || route.view === "model") return `${base}/${route.view}`
  return route.at === null ? base : `${base}?date=${route.at.date}&time=${route.at.time}`
}
