import { defineConfig } from "eslint/config"
import tseslint from "typescript-eslint"
import base from "./eslint.config.js"

// The rules that need types, on top of all others. They hold for .ts files alone, since svelte-check knows the types of components.
// They take several times as long as the others: `npm run lint:types`, which `make soak` runs.
export default defineConfig(base, {
  files: ["src/**/*.ts"],
  extends: [tseslint.configs.strictTypeCheckedOnly],
  languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
  rules: {
    "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    "@typescript-eslint/switch-exhaustiveness-check": "error",
  },
})
