import { mount } from "svelte"
import App from "./App.svelte"
import "./styles/tokens.css"
import "./styles/base.css"
import { theme } from "./theme.svelte.ts"

theme.apply()
const target = document.getElementById("app")
if (target === null) throw new Error("the page has no element #app")
mount(App, { target })
