// Fetches the signal of SPY from the server whose address is the first argument, by types that are generated from the document.
import createClient from "openapi-fetch"
import type { components, paths } from "./schema.js"

declare const process: { argv: string[] }

type Signal = components["schemas"]["Signal"]

const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: process.argv[2] })
const { data, error } = await client.GET("/v2/trading-directions/{ticker}", { params: { path: { ticker: "SPY" } } })
if (error) throw new Error(error.detail)

const signal: Signal = data
const action: "BUY_CALL" | "BUY_PUT" | "NO_TRADE" = signal.action
const locked: string | null = signal.lock.locked_at
console.log(signal.ticker, action, locked)

// @ts-expect-error: the types know which tickers there are
void client.GET("/v2/trading-directions/{ticker}", { params: { path: { ticker: "TSLA" } } })
// @ts-expect-error: and which fields
void signal.colour
