import js from "@eslint/js";
import globals from "globals";

const strict = {
  "array-callback-return": "error",
  "consistent-return": "error",
  eqeqeq: ["error", "always", { null: "ignore" }],
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-shadow": "error",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
  "no-use-before-define": ["error", { functions: false }],
  "no-var": "error",
  "prefer-const": "error",
  "require-atomic-updates": "off",
  "no-restricted-properties": [
    "error",
    { property: "innerHTML", message: "Text from outside is shown with textContent." },
    { property: "outerHTML", message: "Text from outside is shown with textContent." },
    { property: "insertAdjacentHTML", message: "Text from outside is shown with textContent." },
  ],
};

export default [
  { ignores: [".venv/", ".relaypacs/", "node_modules/", "static/vendor/"] },
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" }, rules: strict },
  {
    files: ["static/js/**/*.js"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: { ...globals.browser, ...globals.worker } },
  },
  {
    files: ["tests/js/**/*.js", "**/*.mjs"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.node },
  },
];
