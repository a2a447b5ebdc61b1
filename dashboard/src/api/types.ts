// The types of version 2 under short names, from its OpenAPI document.

import type { components } from "./schema"

export type Schemas = components["schemas"]
export type Bar = Schemas["Bar"]
export type BarSeries = Schemas["BarSeries"]
export type Session = Schemas["Session"]
export type Board = Schemas["Board"]
export type CalendarAnswer = Schemas["CalendarAnswer"]
export type Gap = Schemas["Gap"]
export type GateResult = Schemas["GateResult"]
export type LoadedModels = Schemas["LoadedModels"]
export type Model = Schemas["Model"]
export type Problem = Schemas["Problem"]
export type RecordPage = Schemas["RecordPage"]
export type RecordedSignal = Schemas["RecordedSignal"]
export type Signal = Schemas["Signal"]
export type Status = Schemas["Status"]
export type Structure = Schemas["Structure"]
export type SwingAnswer = Schemas["SwingAnswer"]
