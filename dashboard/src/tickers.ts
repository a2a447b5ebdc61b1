/** The tickers that the server has signals of, in the order in which the page shows them. */
export const TICKERS = ["SPY", "QQQ", "IWM"] as const
export type Ticker = (typeof TICKERS)[number]

export function isTicker(text: string): text is Ticker {
  return (TICKERS as readonly string[]).includes(text)
}
