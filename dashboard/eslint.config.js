import svelte from "eslint-plugin-svelte"
import { defineConfig } from "eslint/config"
import tseslint from "typescript-eslint"
import svelteConfig from "./svelte.config.js"

// The rules that need types hold for .ts files alone: in components they take ten times as long, and svelte-check knows the types
// there. What computes something stands in a .ts file.
export default defineConfig(
  { ignores: ["dist/", "node_modules/", "src/api/schema.d.ts", "*.js"] },
  tseslint.configs.strict,
  svelte.configs.recommended,
  {
    files: ["src/**/*.ts"],
    extends: [tseslint.configs.strictTypeCheckedOnly],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
    },
  },
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
  { rules: { eqeqeq: "error", "no-console": "error", "no-eval": "error" } },
)
