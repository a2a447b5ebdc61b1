// The model's own evaluation as tables, lines and sentences. Pure.

import type { Model, Schemas } from "../../api/types.ts"
import { counted, shareInPercent, signed } from "../../format/numbers.ts"
import { fullHour } from "../../format/times.ts"
import type { Plotted } from "../../parts/plot/options.ts"

export type Cell = Schemas["Cell"]
type Target = Schemas["Target"]

const BETTER = "measurably better than the random walk"
const WORSE = "measurably worse than the random walk"

/** The cells of one target, by hour. */
export function cellsOf(model: Model, target: Target): readonly Cell[] {
  return model.evaluation
    .filter((cell) => cell.target === target)
    .sort((one, other) => one.decision_hour - other.decision_hour)
}

/** How many cells have which verdict, in a sentence that says no more than they do. */
export function conclusion(model: Model): string {
  const of = (verdict: string): number => model.evaluation.filter((cell) => cell.verdict === verdict).length
  const [all, better, worse] = [model.evaluation.length, of(BETTER), of(WORSE)]
  if (all === 0) return "The model has no evaluation, so that nothing can be said of how good it is."
  const same = all - better - worse
  const rest = `${same} ${same === 1 ? "shows" : "show"} no measurable difference, ${worse} ${areOf(worse)} measurably worse.`
  if (better === 0) return `Nothing here is measurably better than the random walk: of ${counted(all, "cell")} ${rest}`
  return `Of ${counted(all, "cell")} ${better} ${areOf(better)} measurably better than the random walk, ${rest}`
}

/** How many cells are better or worse beside a random walk with the same volatility: whose the skill is, in a sentence. */
export function beyondVolatility(model: Model): string {
  const of = (verdict: string): number =>
    model.evaluation.filter((cell) => cell.verdict_beyond_volatility === verdict).length
  const [better, worse] = [of(BETTER), of(WORSE)]
  const counts = `${better} ${areOf(better)} measurably better and ${worse} ${areOf(worse)} measurably worse`
  return `Beside a random walk that is given the model's forecast of the volatility, ${counts}. What the model gains over the plain random walk and not over this one is the better volatility.`
}

function areOf(count: number): string {
  return count === 1 ? "is" : "are"
}

/** The interval of a cell's skill, nats: `−0.0122 (−0.0279 to +0.0043)`. */
export function skillOf({ skill, skill_low, skill_high }: Cell): string {
  return `${signed(skill, 4)} (${signed(skill_low, 4)} to ${signed(skill_high, 4)})`
}

/** The same beside a random walk with the model's forecast of the volatility. */
export function skillBeyondVolatilityOf(cell: Cell): string {
  const { skill_beyond_volatility_low: low, skill_beyond_volatility_high: high } = cell
  return `${signed(cell.skill_beyond_volatility, 4)} (${signed(low, 4)} to ${signed(high, 4)})`
}

/** Hit rates of the model and of the two simple rules, by hour. */
export function hitRatesOf(cells: readonly Cell[]): Plotted {
  return {
    x: cells.map((cell) => cell.decision_hour),
    marks: [],
    limits: [0, 1],
    nameOf: (hour) => (Number.isInteger(hour) ? fullHour(hour) : ""),
    valueOf: (share) => shareInPercent(share, 0),
    lines: [
      { name: "Model", token: "link", style: "solid", hasPoints: true, values: cells.map((cell) => cell.hit_rate) },
      {
        name: "Random walk",
        token: "text",
        style: "dashed",
        hasPoints: true,
        values: cells.map((cell) => cell.baseline_hit_rate),
      },
      { name: "Always up", token: "quiet", style: "dotted", values: cells.map((cell) => cell.always_up_hit_rate) },
    ],
  }
}

/** What the chart of a target shows, in a sentence. */
export function hitRateSummary(target: Target, cells: readonly Cell[]): string {
  const said = cells.map((cell) => {
    const rates = `${shareInPercent(cell.hit_rate)} beside ${shareInPercent(cell.baseline_hit_rate)}`
    return `${fullHour(cell.decision_hour)} ${rates}`
  })
  return `Target ${target}, hit rate of the model beside that of the random walk: ${said.join(", ")}.`
}
