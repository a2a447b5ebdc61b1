// Numbers as the page writes them. Pure. What is not known is NONE, never 0.

/** What stands in place of a value that is not known; the reason stands beside it. */
export const NONE = "–"
const MINUS = "\u2212"
const THOUSANDS = /\B(?=(?:\d{3})+$)/g

/** A price in USD: `$1,460.55`. */
export function dollars(price: number | null): string {
  return price === null ? NONE : `${price < 0 ? "-" : ""}${amount(Math.abs(price))}`
}

/** A difference in USD with its sign: `+$1.15`. */
export function signedDollars(difference: number | null): string {
  return difference === null ? NONE : signOf(difference, 2) + amount(Math.abs(difference))
}

/** A number of per cent with its sign: `+0.18%`. */
export function signedPercent(percent: number | null, digits = 2): string {
  return percent === null ? NONE : `${signOf(percent, digits)}${Math.abs(percent).toFixed(digits)}%`
}

/** A share of one, as per cent: 0.491 is `49.1%`. */
export function shareInPercent(share: number | null, digits = 1): string {
  return share === null ? NONE : `${(share * 100).toFixed(digits)}%`
}

/** A number of per cent without a sign: `15.0%`. */
export function percent(value: number | null, digits = 1): string {
  return value === null ? NONE : `${value.toFixed(digits)}%`
}

/** A whole number with separators: `1,426`. */
export function whole(value: number | null): string {
  return value === null ? NONE : value.toFixed(0).replace(THOUSANDS, ",")
}

/** A number with its sign and so many digits: `−0.0122`. */
export function signed(value: number | null, digits: number): string {
  return value === null ? NONE : signOf(value, digits) + Math.abs(value).toFixed(digits)
}

/** `1 day`, `2 days`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`
}

/** An amount in USD without a sign. */
function amount(price: number): string {
  const [units = "", cents = ""] = price.toFixed(2).split(".")
  return `$${units.replace(THOUSANDS, ",")}.${cents}`
}

/** The sign of a number as it is written with so many digits: none of what is written as zero. */
function signOf(value: number, digits: number): string {
  const written = Number(value.toFixed(digits))
  if (written === 0) return ""
  return written > 0 ? "+" : MINUS
}
