// What operators see of the server, as rows of a name and a value, out of GET /v2/status and `operations` of GET /health, whose fields may
// change at any time. Pure.

import { NONE } from "../../format/numbers.ts"
import { dayInWords, duration } from "../../format/times.ts"
import { inWordsAtStart } from "../../format/words.ts"
import type { Status } from "../../api/types.ts"

export interface Row {
  readonly name: string
  readonly value: string
}

/** Rows of one subject. */
export interface Group {
  readonly title: string
  readonly rows: readonly Row[]
}

/** What fields and groups are called whose own names say too little. */
const NAMES: Readonly<Record<string, string>> = {
  plan: "Plan in detail",
  upcoming: "Closed and short days of the next three months",
}
type Fields = Readonly<Record<string, unknown>>
const MOST_ROWS = 40
/** Fields whose names end so are seconds. */
const SECONDS = /_s$/

export function statusRows(status: Status): readonly Row[] {
  const { ready, reason, degraded, source, plan, delay_seconds, server, versions } = status
  return [
    { name: "Ready", value: ready ? "yes" : `no: ${reason ?? "the reason is not known"}` },
    { name: "Degraded", value: degraded.length === 0 ? "nothing" : degraded.join(", ") },
    { name: "Market", value: source },
    { name: "Data plan", value: plan ?? "none" },
    { name: "Delay of prices", value: duration(delay_seconds) },
    { name: "Version", value: `${server}, engine ${versions.engine}, policy ${versions.policy}` },
  ]
}

/** The groups that operators look for first, then all others. What the server does not tell has no group. */
export function healthGroups(health: unknown): readonly Group[] {
  const operations = isFields(health) && isFields(health["operations"]) ? health["operations"] : {}
  const first = ["plan", "budget", "breaker", "follower"]
  const rest = Object.keys(operations).filter((key) => !first.includes(key) && isFields(operations[key]))
  return [...first, ...rest].flatMap((key) => {
    const value = operations[key]
    if (value === undefined) return []
    const rows = rowsOf(value)
    return [{ title: nameOf(key), rows: rows.length > 0 ? rows : [{ name: "State", value: emptyText(key) }] }]
  })
}

function nameOf(key: string): string {
  return NAMES[key] ?? inWordsAtStart(key)
}

function emptyText(key: string): string {
  if (key === "breaker") return "closed: no calls are held back"
  return key === "budget" ? "no provider is asked in this market" : "nothing"
}

function rowsOf(value: unknown, prefix = ""): readonly Row[] {
  if (!isFields(value)) return []
  const rows = Object.entries(value).flatMap(([key, inner]) => {
    const term = key.replace(SECONDS, "")
    const name = `${prefix}${prefix === "" ? nameOf(term) : term.replaceAll("_", " ")}`
    if (isFields(inner)) return rowsOf(inner, `${name}: `)
    return [{ name, value: textOf(inner, key) }]
  })
  return rows.slice(0, MOST_ROWS)
}

function textOf(value: unknown, key: string): string {
  if (value === null || value === undefined) return NONE
  if (isDay(value)) return `${dayInWords(value.day)} ${value.close === null ? "closed" : `until ${value.close}`}`
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map((item) => textOf(item, "")).join(", ")
  if (typeof value === "boolean") return value ? "yes" : "no"
  if (typeof value === "number") return SECONDS.test(key) ? `${value} s` : String(value)
  if (typeof value === "string") return value
  return isFields(value)
    ? Object.values(value)
        .map((item) => textOf(item, ""))
        .join(" ")
    : NONE
}

/** A day of the calendar that is not an ordinary one. close: null on a closed day. */
function isDay(value: unknown): value is { readonly day: string; readonly close: string | null } {
  return isFields(value) && typeof value["day"] === "string" && "close" in value
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
