import svelte from "eslint-plugin-svelte"
import { defineConfig } from "eslint/config"
import tseslint from "typescript-eslint"
import svelteConfig from "./svelte.config.js"

export default defineConfig(
  { ignores: ["dist/", "node_modules/", "src/api/schema.d.ts", "*.js"] },
  tseslint.configs.strict,
  svelte.configs.recommended,
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: tseslint.parser, svelteConfig } },
    rules: {
      // The policy of the page refuses styles in attributes.
      "svelte/no-inline-styles": "error",
      "svelte/no-at-html-tags": "error",
      "svelte/button-has-type": "error",
      "svelte/require-each-key": "error",
      "svelte/no-target-blank": "error",
      "svelte/no-navigation-without-resolve": "off",
    },
  },
  { files: ["**/*.ts"], rules: { "@typescript-eslint/explicit-module-boundary-types": "error" } },
  { rules: { eqeqeq: "error", "no-console": "error", "no-eval": "error" } },
)
