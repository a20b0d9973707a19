import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'src/metadata.ts'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // A lost await loses a flush.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/unbound-method': ['error', { ignoreStatic: true }],
      // Interfaces are often asynchronous for the sake of another implementation.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    // Node runs these by leaving the types out, which is only possible where they are types and nothing else.
    files: ['bench/**/*.ts'],
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/parameter-properties': ['error', { prefer: 'class-property' }],
      // Returned without it, work would go on in what `await using` has already taken down.
      '@typescript-eslint/return-await': 'error',
    },
  },
  {
    // Answers and matchers are untyped there.
    files: ['test/**/*.ts', 'src/**/*.spec.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/**/*.entity.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'AssignmentExpression > MemberExpression.left[property.name="status"]',
          message: 'A status changes through a method of its entity, which keeps what belongs to it consistent.',
        },
        {
          selector: 'Decorator > CallExpression[callee.name="OnEvent"]',
          message: 'Use @InTransaction or @AfterCommit: @OnEvent swallows errors.',
        },
      ],
    },
  },
);
