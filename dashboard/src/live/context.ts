import { createContext } from "svelte"
import type { Live } from "./live.svelte.ts"

/** `liveEvents()` is the store of the page, in every component below App. */
export const [liveEvents, provideLive] = createContext<Live>()
